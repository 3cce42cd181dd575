#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| clusterrunner_fuzz::signatures(bytes));
