#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ecs_bridge::fuzzing::config(input));
