#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    ecs_bridge::fuzzing::host_key(session_manager_proto::fuzzing::session(input));
});
