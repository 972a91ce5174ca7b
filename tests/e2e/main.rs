//! The built binary, end to end: real OpenSSH programs against the stand-in cloud.
//!
//! Every test of what users do runs against an SSH server in this process and, where it is
//! installed, against OpenSSH's `sshd`; and with an agent of each generation. With `CI` set a
//! program that is not installed is a failure, never a skip.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
mod world;

mod agents;
mod blackout;
mod cache;
mod carrying;
mod case;
mod completions;
mod config_example;
mod configure;
mod configure_files;
mod configure_modes;
mod configure_sources;
mod copying;
mod credentials;
mod credentials_failing;
mod credentials_files;
mod credentials_ini;
mod credentials_instance;
mod credentials_login;
mod credentials_missing;
mod credentials_program;
mod credentials_renewal;
mod credentials_renewal_cut;
mod credentials_renewal_source;
#[cfg(target_os = "linux")]
mod credentials_terminal;
#[cfg(target_os = "linux")]
mod descriptors;
mod dialogue;
#[cfg(target_os = "linux")]
mod docs;
mod doctor;
mod doctor_keys;
mod doctor_look;
mod doctor_ssh;
mod doctor_table;
mod ending;
mod failing;
mod failing_session;
#[cfg(target_os = "linux")]
mod fault_matrix;
mod forward_driver;
mod forward_ending;
mod forward_exec;
mod forward_failing;
mod forward_http;
mod forward_json;
mod forward_limits;
mod forward_listen;
mod forward_openssh;
mod forward_overlap;
mod forward_probe;
mod forward_queue;
mod forward_quota;
mod forward_redis;
mod forward_resets;
mod forward_streams;
#[cfg(target_os = "linux")]
mod forward_terminal;
mod forward_unix;
mod forward_warm;
mod forwarding;
#[cfg(target_os = "linux")]
mod full_disk;
mod generated;
#[cfg(target_os = "linux")]
mod hangup;
mod known_hosts;
mod known_hosts_script;
mod lab;
mod leaks;
mod list;
mod list_agents;
mod log;
#[cfg(target_os = "linux")]
mod masters;
#[cfg(target_os = "linux")]
mod names;
#[cfg(target_os = "linux")]
mod orphans;
mod outage;
mod policy;
mod profiles;
mod proxies;
mod proxies_failing;
mod quota;
mod relay;
mod resuming;
mod running;
mod secrets;
mod secrets_repeated;
mod send_key;
mod send_key_failing;
#[cfg(target_os = "linux")]
mod send_key_first;
mod send_key_memory;
mod send_key_ssh;
mod send_key_waiting;
mod send_key_words;
#[cfg(target_os = "linux")]
mod shell;
#[cfg(target_os = "linux")]
mod shell_ending;
#[cfg(target_os = "linux")]
mod shell_script;
mod slow_reader;
mod ssh_config;
mod ssh_config_machine;
#[cfg(target_os = "linux")]
mod stack;
mod start;
#[cfg(target_os = "linux")]
mod stderr_unread;
mod stdout_failing;
mod targets;
mod targets_failing;
mod targets_given;
mod targets_gone;
mod targets_memory;
mod targets_ssh;
#[cfg(target_os = "linux")]
mod terminal;
mod timing;
mod trust;
mod vendor;
mod vendor_configure;
mod vendor_pages;
mod vendor_words;
mod version;
