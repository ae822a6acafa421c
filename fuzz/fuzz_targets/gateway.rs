#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keyservice_fuzz::gateway(bytes));
