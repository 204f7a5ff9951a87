//! Images of Pathfinder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transformer_ls_datasets::png;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(grey) = png::decode(bytes) {
        assert_eq!(grey.pixels.len(), grey.width * grey.height);
        let again = png::decode(&png::encode(grey.width, grey.height, &grey.pixels));
        assert_eq!(again.as_ref(), Ok(&grey));
    }
});
