//! libFuzzer's way in: looks for bytes that break the target named by `CALLVAULT_FUZZ`. `fuzz/run`
//! starts it.

#![no_main]

use std::sync::OnceLock;

use callvault_fuzz::TARGETS;
use libfuzzer_sys::fuzz_target;

static CHECK: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("CALLVAULT_FUZZ").expect("CALLVAULT_FUZZ names a target");
        let target = TARGETS.iter().find(|(known, _)| *known == name);
        let (_, check) = target.unwrap_or_else(|| panic!("there is no target {name}"));
        CHECK.set(*check).expect("this is done once");
    },
    |bytes: &[u8]| CHECK.get().expect("init was called")(bytes)
);
