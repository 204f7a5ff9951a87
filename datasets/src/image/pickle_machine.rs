//! A machine for the operations of Python's pickles, as far as CIFAR-10's batches need it.
//!
//! Nothing is ever executed: a class or function is a name here, and calling it makes a value that
//! holds its arguments.

/// A value on the pickle machine's stack.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Mark,
    None,
    Int(i64),
    Bytes(Vec<u8>),
    Global(String),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// A call or an object, with arguments and state.
    Object(Vec<Value>),
}

type Step<T> = Result<T, String>;

/// Values in a batch and in what it takes to rebuild it. Filenames are most: some 10000.
const MOST_VALUES: usize = 1 << 20;
/// Values within values: a batch needs five.
const DEEPEST: usize = 16;
/// Bytes that memory may hold in all: a batch has 30 million, kept twice or so.
const MOST_BYTES: usize = 512 << 20;

/// Refuses values that are too deep to be put into another, which dropping them would recurse into.
fn shallow(values: Vec<Value>) -> Step<Vec<Value>> {
    if values.iter().map(depth).max() >= Some(DEEPEST) {
        return Err("values within values within values".into());
    }
    Ok(values)
}

fn depth(value: &Value) -> usize {
    let deepest = |parts: &[Value]| 1 + parts.iter().map(depth).max().unwrap_or(0);
    match value {
        Value::List(parts) | Value::Tuple(parts) | Value::Object(parts) => deepest(parts),
        Value::Dict(pairs) => {
            let depths = pairs
                .iter()
                .map(|(key, value)| depth(key).max(depth(value)));
            1 + depths.max().unwrap_or(0)
        }
        _ => 0,
    }
}

pub(super) struct Machine<'a> {
    input: &'a [u8],
    stack: Vec<Value>,
    memo: Vec<(u32, Value)>,
    /// What was made so far, against a small file that fills the memory.
    values: usize,
    bytes: usize,
}

impl<'a> Machine<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Self {
            input,
            stack: Vec::new(),
            memo: Vec::new(),
            values: 0,
            bytes: 0,
        }
    }

    pub fn run(&mut self) -> Step<Value> {
        loop {
            let code = self.take(1)?[0];
            if code == b'.' {
                return self.pop();
            }
            self.step(code)?;
        }
    }

    fn step(&mut self, code: u8) -> Step<()> {
        match code {
            // PROTO, FRAME
            0x80 => self.take(1).map(|_| ()),
            0x95 => self.take(8).map(|_| ()),
            b'(' => self.push(Value::Mark),
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Int(1)),
            0x89 => self.push(Value::Int(0)),
            b'K' => self.integer(1),
            b'M' => self.integer(2),
            b'J' => {
                let bytes = self.array::<4>()?;
                self.push(Value::Int(i32::from_le_bytes(bytes).into()))
            }
            // LONG1: little-endian, signed; longer ones are no labels.
            0x8a => {
                let length = self.length(1)?;
                let bytes = self.take(length)?;
                let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
                let mut wide = [if negative { 0xff } else { 0 }; 8];
                let fits = wide
                    .get_mut(..length)
                    .ok_or("an integer that is too long")?;
                fits.copy_from_slice(bytes);
                self.push(Value::Int(i64::from_le_bytes(wide)))
            }
            b'G' => self
                .take(8)
                .map(|_| ())
                .and_then(|()| self.push(Value::None)),
            // Strings and bytes with lengths of 1, 4 and 8 bytes.
            b'U' | b'C' => self.text(1, false),
            0x8c => self.text(1, true),
            b'T' | b'B' => self.text(4, false),
            b'X' => self.text(4, true),
            0x8e | 0x96 => self.text(8, false),
            0x8d => self.text(8, true),
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b')' => self.push(Value::Tuple(Vec::new())),
            b'a' => {
                let value = self.pop()?;
                self.extend(vec![value])
            }
            b'e' => {
                let values = self.pop_to_mark()?;
                self.extend(values)
            }
            b'l' => {
                let values = self.pop_to_mark()?;
                self.push(Value::List(shallow(values)?))
            }
            b't' => {
                let values = self.pop_to_mark()?;
                self.push(Value::Tuple(shallow(values)?))
            }
            0x85..=0x87 => {
                let start = self.stack.len().checked_sub(usize::from(code - 0x84));
                let start = start.ok_or("too few values for a tuple")?;
                let values = self.stack.split_off(start);
                self.push(Value::Tuple(shallow(values)?))
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(vec![key, value])
            }
            b'u' => {
                let values = self.pop_to_mark()?;
                self.set(values)
            }
            b'd' => {
                let values = self.pop_to_mark()?;
                self.push(Value::Dict(Vec::new()))?;
                self.set(values)
            }
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let module = String::from_utf8_lossy(self.line()?).into_owned();
                let name = String::from_utf8_lossy(self.line()?).into_owned();
                self.push(Value::Global(format!("{module}.{name}")))
            }
            0x93 => {
                let name = match (self.pop()?, self.pop()?) {
                    (Value::Bytes(name), Value::Bytes(module)) => [module, name].join(&b'.'),
                    _ => return Err("a name that is no text".into()),
                };
                let name = String::from_utf8_lossy(&name).into_owned();
                self.push(Value::Global(name))
            }
            // REDUCE, NEWOBJ, BUILD
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(function, arguments)
            }
            b'b' => {
                let (state, object) = (self.pop()?, self.pop()?);
                self.push(Value::Object(shallow(vec![object, state])?))
            }
            // POP, DUP, and the memo
            b'0' => self.pop().map(|_| ()),
            b'q' => {
                let key = self.length(1)?;
                self.remember(key as u32)
            }
            b'r' => {
                let key = self.length(4)?;
                self.remember(key as u32)
            }
            0x94 => self.remember(self.memo.len() as u32),
            b'h' => {
                let key = self.length(1)?;
                self.recall(key as u32)
            }
            b'j' => {
                let key = self.length(4)?;
                self.recall(key as u32)
            }
            other => Err(format!("operation {other:#04x} is none of a batch's")),
        }
    }

    /// Python 3 writes bytes in old protocols as text to be encoded: that alone is carried out.
    fn call(&mut self, function: Value, arguments: Value) -> Step<()> {
        if let (Value::Global(name), Value::Tuple(parts)) = (&function, &arguments)
            && name == "_codecs.encode"
            && let Some(Value::Bytes(text)) = parts.first()
        {
            let text = String::from_utf8_lossy(text);
            let bytes = text.chars().map(|c| u8::try_from(u32::from(c)));
            let bytes: Result<Vec<u8>, _> = bytes.collect();
            return self.push(Value::Bytes(bytes.map_err(|_| "text beyond Latin-1")?));
        }
        self.push(Value::Object(shallow(vec![arguments])?))
    }

    fn text(&mut self, width: usize, is_unicode: bool) -> Step<()> {
        let length = self.length(width)?;
        let bytes = self.take(length)?;
        if is_unicode && std::str::from_utf8(bytes).is_err() {
            return Err("text that is not valid UTF-8".into());
        }
        self.push(Value::Bytes(bytes.to_vec()))
    }

    fn integer(&mut self, width: usize) -> Step<()> {
        let value = self.length(width)?;
        self.push(Value::Int(value as i64))
    }

    fn length(&mut self, width: usize) -> Step<usize> {
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(self.take(width)?);
        usize::try_from(u64::from_le_bytes(wide)).map_err(|_| "a length beyond memory".into())
    }

    fn take(&mut self, count: usize) -> Step<&'a [u8]> {
        let split = self.input.split_at_checked(count);
        let (taken, rest) = split.ok_or("it ends too early")?;
        self.input = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| "it ends too early".into())
    }

    fn line(&mut self) -> Step<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.input).ok_or("a line without an end")?;
        let line = self.take(end)?;
        self.take(1)?;
        Ok(line)
    }

    fn push(&mut self, value: Value) -> Step<()> {
        self.count(&value)?;
        self.stack.push(value);
        Ok(())
    }

    /// Counts what a value takes, deep down, before it is kept.
    fn count(&mut self, value: &Value) -> Step<()> {
        self.values += 1;
        if let Value::Bytes(bytes) = value {
            self.bytes += bytes.len();
        }
        if self.values > MOST_VALUES || self.bytes > MOST_BYTES {
            return Err("it is too large".into());
        }
        Ok(())
    }

    fn count_deep(&mut self, value: &Value) -> Step<()> {
        self.count(value)?;
        match value {
            Value::List(parts) | Value::Tuple(parts) | Value::Object(parts) => {
                parts.iter().try_for_each(|part| self.count_deep(part))
            }
            Value::Dict(pairs) => pairs.iter().try_for_each(|(key, value)| {
                self.count_deep(key)?;
                self.count_deep(value)
            }),
            _ => Ok(()),
        }
    }

    fn pop(&mut self) -> Step<Value> {
        self.stack.pop().ok_or_else(|| "a value is missing".into())
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Value>> {
        let is_mark = |value: &Value| matches!(value, Value::Mark);
        let mark = self
            .stack
            .iter()
            .rposition(is_mark)
            .ok_or("a mark is missing")?;
        let values = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(values)
    }

    fn extend(&mut self, values: Vec<Value>) -> Step<()> {
        match self.stack.last_mut() {
            Some(Value::List(list)) => list.extend(shallow(values)?),
            _ => return Err("no list to add to".into()),
        }
        Ok(())
    }

    fn set(&mut self, values: Vec<Value>) -> Step<()> {
        let Some(Value::Dict(pairs)) = self.stack.last_mut() else {
            return Err("no dictionary to add to".into());
        };
        let mut values = shallow(values)?.into_iter();
        while let (Some(key), Some(value)) = (values.next(), values.next()) {
            pairs.push((key, value));
        }
        Ok(())
    }

    /// Keeps what may be asked for again. Lists and dictionaries are still empty then, and grow
    /// on the stack; a batch asks for none of them again.
    fn remember(&mut self, key: u32) -> Step<()> {
        let value = match self.stack.last() {
            // The pixels are asked for once.
            Some(Value::Bytes(bytes)) if bytes.len() > 4096 => Value::None,
            Some(value) => value.clone(),
            None => return Err("nothing to remember".into()),
        };
        self.count_deep(&value)?;
        match self.memo.binary_search_by_key(&key, |entry| entry.0) {
            Ok(at) => self.memo[at].1 = value,
            Err(at) => self.memo.insert(at, (key, value)),
        }
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Step<()> {
        let at = self.memo.binary_search_by_key(&key, |entry| entry.0);
        let at = at.map_err(|_| "nothing of that number was remembered")?;
        let value = self.memo[at].1.clone();
        self.count_deep(&value)?;
        self.stack.push(value);
        Ok(())
    }
}
