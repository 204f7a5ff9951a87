//! Expressions: their values and tokens, against values worked out by hand, and against an
//! evaluator that works on the published parentheses where the crate's works on the brackets.

use proptest::prelude::*;
use transformer_ls_datasets::draws::PcgDraws;
use transformer_ls_datasets::listops::{
    ExpressionError, InnerValue, TokenError, Tokenizer, Tree, evaluate, spread, values,
};

#[test]
fn values_worked_out_by_hand() {
    let cases = [
        ("7", 7),
        ("( ( ( [MIN 5 ) 0 ) ] )", 0),
        ("[MIN 5 0 ]", 0),
        ("[MAX 2 9 [MIN 4 7 ] 0 ]", 9),
        ("[MAX 2 [MIN 4 7 ] 0 ]", 4),
        ("[SM 9 9 9 ]", 7),
        ("[SM 5 5 ]", 0),
        ("[SM 1 2 3 4 5 6 7 8 9 ]", 5),
        // Of an odd number the one in the middle; of an even one half the two, rounded down.
        ("[MED 9 1 5 ]", 5),
        ("[MED 3 4 ]", 3),
        ("[MED 0 9 ]", 4),
        ("[MED 8 2 6 4 ]", 5),
        ("[MED 1 8 8 1 8 1 ]", 4),
        ("[MED 6 ]", 6),
        ("[SM [MAX 3 8 ] [MIN 3 8 ] [MED 3 8 ] ]", 6),
        // No white space about brackets, more of it than needed, the other closing bracket.
        ("[SM[MAX 3 8][MIN 3 8][MED 3 8]]", 6),
        ("[SM [MAX 3 8]1]", 9),
        ("  [MIN\t5   6\n]  ", 5),
        ("[MAX 2 9 [MIN 4 7 X 0 X", 9),
    ];
    for (expression, value) in cases {
        assert_eq!(evaluate(expression), Ok(value), "{expression}");
    }
}

#[test]
fn what_is_no_expression_is_explained() {
    let unknown = |token: &str, column| {
        format!(
            "unknown token \"{token}\" in column {column}: an expression is made of [MIN [MAX \
             [MED [SM, the digits 0 to 9, ] and parentheses"
        )
    };
    let empty = "the expression is empty: write one such as [MAX 2 9 [MIN 4 7 ] 0 ]";
    let cases = [
        ("", empty.into()),
        (" ( ) ", empty.into()),
        ("[MIN 5 10 ]", unknown("10", 8)),
        ("[AVG 5 1 ]", unknown("[AVG", 1)),
        ("[min 5 1 ]", unknown("[min", 1)),
        ("[MINI 5 1 ]", unknown("[MINI", 1)),
        ("[MAX 5 [ 1 ] ]", unknown("[", 8)),
        ("MIN 5 1", unknown("MIN", 1)),
        ("[MAX 5 Xs ]", unknown("Xs", 8)),
        ("[MAX 5é ]", unknown("5é", 6)),
        ("[MAX 5 -1 ]", unknown("-1", 8)),
        (
            "[MAX 1 abcdefghijklmnopqrstuvwxyz",
            unknown("abcdefghijklmnopqrstuvwx…", 8),
        ),
        (
            "[MAX 5 [MIN 1 ]",
            "the expression ends too early: add 1 closing bracket(s) `]`".into(),
        ),
        (
            "[MAX [SM [MIN",
            "the expression ends too early: add 3 closing bracket(s) `]`".into(),
        ),
        (
            "[MAX 5 ] ]",
            "the `]` in column 10 closes nothing: remove it, or open an operator before it".into(),
        ),
        (
            "]",
            "the `]` in column 1 closes nothing: remove it, or open an operator before it".into(),
        ),
        (
            "[MAX 5 [MED ] ]",
            "the operator that ends in column 13 has no arguments: give it at least one".into(),
        ),
        (
            "[MAX 5 ] [MIN 1 ]",
            "the expression is complete before column 10: put one expression on a line, with one \
             operator around it all"
                .into(),
        ),
    ];
    for (expression, message) in cases {
        let error = evaluate(expression).unwrap_err();
        assert_eq!(error.to_string(), message, "{expression}");
    }
}

#[test]
fn depth_and_length_are_not_limited() {
    let depth = 200_000;
    let expression = "[SM 1 ".repeat(depth) + "0" + &" ]".repeat(depth);
    assert_eq!(evaluate(&expression), Ok((depth % 10) as u8));
    let missing = evaluate(&"[MAX ".repeat(depth));
    assert_eq!(missing, Err(ExpressionError::Unclosed(depth)));
    let wide = format!("[SM {}]", "9 ".repeat(100_000));
    assert_eq!(evaluate(&wide), Ok(0));
}

#[test]
fn token_ids_written_by_hand() {
    let expression =
        "( ( ( ( ( [MIN 5 ) ( ( ( [MAX 9 ) 0 ) ] ) ) ( ( [MED 1 ) ] ) ) ( ( [SM 2 ) ] ) ) ] )";
    let short = "[MIN 5 [MAX 9 0] [MED 1] [SM 2]]";
    for text in [expression, short] {
        assert_eq!(
            Tokenizer::Brackets.encode(text),
            Ok(vec![1, 10, 2, 14, 5, 15, 3, 6, 15, 4, 7, 15, 15])
        );
        assert_eq!(
            Tokenizer::Legacy.encode(text),
            Ok(vec![1, 10, 2, 14, 5, 3, 6, 4, 7])
        );
        assert_eq!(
            Tokenizer::Depths.encode(text),
            Ok(vec![1, 25, 17, 44, 35, 30, 18, 36, 30, 19, 37, 30, 15])
        );
    }
    assert_eq!(
        Tokenizer::Brackets.encode("[SM 0 1 2 3 4 5 6 7 8 9 X"),
        Ok(vec![4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
    );
}

#[test]
fn vocabularies_are_as_documented() {
    let legacy = "<pad> MIN MAX MED SM 0 1 2 3 4 5 6 7 8 9";
    let brackets = "<pad> [MIN [MAX [MED [SM 0 1 2 3 4 5 6 7 8 9 ]";
    let depths = (0..11).map(|depth| {
        let words = brackets
            .split(' ')
            .skip(1)
            .map(|word| format!(" {word}.{depth}"));
        words.collect::<String>()
    });
    let depths = format!("<pad>{}", depths.collect::<String>());
    for (tokenizer, size, words) in [
        (Tokenizer::Legacy, 15, legacy),
        (Tokenizer::Brackets, 16, brackets),
        (Tokenizer::Depths, 166, &depths),
    ] {
        assert_eq!(tokenizer.vocab_size(), size);
        assert_eq!(tokenizer.vocabulary().join(" "), words);
        assert_eq!(tokenizer.truncation(), 2000);
        assert_eq!(tokenizer.to_string().parse(), Ok(tokenizer));
    }
    assert_eq!(Tokenizer::default(), Tokenizer::Brackets);
    let error = "bytes".parse::<Tokenizer>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no tokenizer \"bytes\": use brackets, depths or legacy"
    );
}

#[test]
fn tokenizers_are_named_in_configurations() {
    use serde::Deserialize;
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};
    let read = |name: &'static str| {
        let name: StrDeserializer<Error> = name.into_deserializer();
        Tokenizer::deserialize(name)
    };
    assert_eq!(read("legacy"), Ok(Tokenizer::Legacy));
    assert_eq!(read("brackets"), Ok(Tokenizer::Brackets));
    let error = read("Brackets").unwrap_err().to_string();
    assert!(error.contains("`legacy`, `brackets`, `depths`"), "{error}");
}

#[test]
fn tokens_are_cut_off_at_2000_and_checked_beyond() {
    let long = format!("[SM {}]", "1 ".repeat(3000));
    for tokenizer in Tokenizer::ALL {
        let ids = tokenizer.encode(&long).unwrap();
        assert_eq!(ids.len(), 2000);
        let one = if tokenizer == Tokenizer::Depths {
            21
        } else {
            6
        };
        assert_eq!((ids[0], ids[1999]), (4, one));
        let exact = format!("[SM {}", "1 ".repeat(1999));
        assert_eq!(tokenizer.encode(&exact).unwrap().len(), 2000);
        let wrong = tokenizer.encode(&(long.clone() + " x"));
        assert!(matches!(
            wrong,
            Err(TokenError::Unknown { column: 6007, .. })
        ));
        assert_eq!(tokenizer.encode(" "), Err(TokenError::Empty));
    }
    // Only a bracket: legacy has no token for it.
    assert_eq!(Tokenizer::Legacy.encode("]"), Err(TokenError::Empty));
    assert_eq!(Tokenizer::Brackets.encode("]"), Ok(vec![15]));
}

/// An expression as a tree, with its own idea of the operators.
#[derive(Clone, Debug)]
enum Node {
    Digit(u8),
    Operation(&'static str, Vec<Node>),
}

impl Node {
    fn value(&self) -> u8 {
        match self {
            Node::Digit(digit) => *digit,
            Node::Operation(operator, arguments) => {
                operate(operator, arguments.iter().map(Node::value).collect())
            }
        }
    }

    fn published(&self) -> String {
        match self {
            Node::Digit(digit) => digit.to_string(),
            Node::Operation(operator, arguments) => {
                let mut text = format!("[{operator}");
                for argument in arguments {
                    text = format!("( {text} {} )", argument.published());
                }
                format!("( {text} ] )")
            }
        }
    }

    fn short(&self) -> String {
        match self {
            Node::Digit(digit) => digit.to_string(),
            Node::Operation(operator, arguments) => {
                let arguments: Vec<_> = arguments.iter().map(Node::short).collect();
                format!("[{operator} {}]", arguments.join(" "))
            }
        }
    }

    /// The places, depths and values inside the node, which starts at `place`; the place behind it.
    fn values_within(&self, place: usize, depth: usize, found: &mut Vec<InnerValue>) -> usize {
        let Node::Operation(operator, arguments) = self else {
            return place + 1;
        };
        let mut close = place + 1;
        let mut before = Vec::new();
        for node in arguments {
            before.push(node.value());
            if let Node::Digit(_) = node {
                let value = operate(operator, before.clone());
                found.push(InnerValue {
                    place: close,
                    depth,
                    value,
                });
            }
            close = node.values_within(close, depth + 1, found);
        }
        let value = self.value();
        found.push(InnerValue {
            place: close,
            depth,
            value,
        });
        close + 1
    }

    fn tokens(&self, brackets: bool) -> Vec<u16> {
        match self {
            Node::Digit(digit) => vec![5 + u16::from(*digit)],
            Node::Operation(operator, arguments) => {
                let names = ["", "MIN", "MAX", "MED", "SM"];
                let id = names.iter().position(|name| name == operator).unwrap() as u16;
                let arguments = arguments.iter().flat_map(|node| node.tokens(brackets));
                let close = brackets.then_some(15);
                [id].into_iter().chain(arguments).chain(close).collect()
            }
        }
    }

    /// Each token of `tokens(true)`, 15 further on for each operation around it.
    fn tokens_at(&self, depth: u16) -> Vec<u16> {
        let Node::Operation(_, arguments) = self else {
            return vec![self.tokens(true)[0] + 15 * depth.min(10)];
        };
        let mut tokens = self.tokens(true);
        let last = tokens.len() - 1;
        let inside = arguments.iter().flat_map(|node| node.tokens_at(depth + 1));
        tokens.splice(1..last, inside);
        tokens[0] += 15 * depth.min(10);
        tokens[last] += 15 * depth.min(10);
        tokens
    }
}

fn operate(operator: &str, mut values: Vec<u8>) -> u8 {
    values.sort();
    match operator {
        "MIN" => values[0],
        "MAX" => values[values.len() - 1],
        "SM" => values.iter().fold(0, |sum, value| (sum + value) % 10),
        "MED" if values.len() % 2 == 1 => values[values.len() / 2],
        "MED" => {
            let (a, b) = (values[values.len() / 2 - 1], values[values.len() / 2]);
            ((f64::from(a) + f64::from(b)) / 2.0).floor() as u8
        }
        _ => unreachable!("{operator}"),
    }
}

/// Reads the published form by its parentheses alone, by recursive descent:
/// `item := digit | "(" pair ")"`, `pair := (operator | "(" pair ")") (item | "]")`.
fn read_item<'a>(words: &mut impl Iterator<Item = &'a str>) -> Node {
    match words.next().unwrap() {
        "(" => {
            let (operator, arguments, closed) = read_pair(words);
            assert!(closed);
            Node::Operation(operator, arguments)
        }
        digit => Node::Digit(digit.parse().unwrap()),
    }
}

fn read_pair<'a>(words: &mut impl Iterator<Item = &'a str>) -> (&'static str, Vec<Node>, bool) {
    let (operator, mut arguments) = match words.next().unwrap() {
        "(" => {
            let (operator, arguments, closed) = read_pair(words);
            assert!(!closed);
            (operator, arguments)
        }
        "[MIN" => ("MIN", vec![]),
        "[MAX" => ("MAX", vec![]),
        "[MED" => ("MED", vec![]),
        "[SM" => ("SM", vec![]),
        word => panic!("{word}"),
    };
    let mut words = words.peekable();
    let closed = words.peek() == Some(&"]");
    if closed {
        words.next();
    } else {
        arguments.push(read_item_dyn(&mut words));
    }
    assert_eq!(words.next(), Some(")"));
    (operator, arguments, closed)
}

/// Ends the recursion of iterator types.
fn read_item_dyn(words: &mut dyn Iterator<Item = &str>) -> Node {
    let mut words = words;
    read_item(&mut words)
}

fn nodes() -> impl Strategy<Value = Node> {
    let digit = (0u8..10).prop_map(Node::Digit);
    digit.prop_recursive(6, 60, 6, |inner| {
        let operator = prop::sample::select(vec!["MIN", "MAX", "MED", "SM"]);
        (operator, prop::collection::vec(inner, 1..6))
            .prop_map(|(operator, arguments)| Node::Operation(operator, arguments))
    })
}

proptest! {
    #[test]
    fn any_expression_has_its_value_and_tokens(node in nodes()) {
        for text in [node.published(), node.short()] {
            prop_assert_eq!(evaluate(&text), Ok(node.value()));
            for (tokenizer, brackets) in [(Tokenizer::Brackets, true), (Tokenizer::Legacy, false)] {
                let ids = tokenizer.encode(&text).unwrap();
                prop_assert!(ids.iter().all(|&id| id > 0 && usize::from(id) < tokenizer.vocab_size()));
                prop_assert_eq!(ids, node.tokens(brackets));
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]MINAXEDSX0-9 ()é]{0,40}") {
        let encoded = Tokenizer::Brackets.encode(&text);
        if evaluate(&text).is_ok() {
            prop_assert!(encoded.is_ok());
        }
        // What has no tokens has no value, and for the same reason unless brackets fail earlier.
        if let Err(TokenError::Empty) = encoded {
            prop_assert_eq!(evaluate(&text), Err(TokenError::Empty.into()));
        }
    }
}

#[test]
fn generated_trees_have_the_value_of_their_parentheses() {
    let mut checked = 0;
    for candidate in 0..12_000 {
        let Some(tree) = Tree::draw(&mut PcgDraws::new(11, candidate)) else {
            continue;
        };
        let text = tree.to_string();
        let mut words = text.split(' ');
        let node = read_item_dyn(&mut words);
        assert_eq!(words.next(), None);
        assert_eq!(node.published(), text);
        assert_eq!(node.value(), tree.value());
        assert_eq!(evaluate(&text), Ok(tree.value()));
        let ids = Tokenizer::Brackets.encode(&text).unwrap();
        assert_eq!(ids.len(), tree.token_count());
        assert_eq!(ids, node.tokens(true));
        let mut inner = Vec::new();
        node.values_within(0, 0, &mut inner);
        assert_eq!(values(Tokenizer::Brackets, &ids), inner);
        // Each token at its depth; the value of an operation doesn't ask for it.
        let deep = Tokenizer::Depths.encode(&text).unwrap();
        assert_eq!(values(Tokenizer::Depths, &deep), inner);
        assert_eq!(deep, node.tokens_at(0));
        // What a cut leaves whole keeps its values.
        inner.retain(|it| it.place < ids.len() / 2);
        assert_eq!(values(Tokenizer::Brackets, &ids[..ids.len() / 2]), inner);
        checked += 1;
    }
    assert!(checked > 800, "{checked}");
}

#[test]
fn what_is_not_closed_has_no_value() {
    let ids = |text| Tokenizer::Brackets.encode(text).unwrap();
    let values = |ids: &[u16]| -> Vec<_> {
        let found = values(Tokenizer::Brackets, ids);
        found.iter().map(|it| (it.place, it.value)).collect()
    };
    assert_eq!(values(&ids("7")), []);
    assert_eq!(
        values(&ids("] [MAX ] [SM 3 4 ] [MIN 1")),
        [(4, 3), (5, 7), (6, 7), (8, 1)]
    );
    assert_eq!(values(&[0, 99, 15]), []);
}

#[test]
fn values_are_spread_over_each_depth() {
    let at = |place, depth| InnerValue {
        place,
        depth,
        value: 3,
    };
    let all: Vec<_> = (0..100)
        .map(|place| at(place, usize::from(place % 10 != 0)))
        .collect();
    let places = |most| -> Vec<usize> {
        let kept = spread(all.clone(), most).into_iter();
        kept.filter(|it| it.depth == 1).map(|it| it.place).collect()
    };
    // 90 are at depth 1, 10 at depth 0.
    assert_eq!(spread(all.clone(), 90), all);
    assert_eq!(places(5), [19, 39, 59, 79, 99]);
    let kept = spread(all.clone(), 16);
    assert_eq!(kept.iter().filter(|it| it.depth == 0).count(), 10);
    assert_eq!(places(16).len(), 16);
    assert!(
        places(16)
            .windows(2)
            .all(|it| (5..=8).contains(&(it[1] - it[0])))
    );
    assert_eq!(spread(Vec::new(), 16), []);
}
