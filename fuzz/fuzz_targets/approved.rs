#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| iam_web::fuzzing::approved(data));
