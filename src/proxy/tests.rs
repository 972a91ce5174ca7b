//! The table of decisions.

use super::*;
use crate::explain::{ExitCode, Explain as _};

/// The settings of a command line and an environment.
fn proxies(flag: Option<&str>, env: &[(&str, &str)]) -> Result<Proxies, SettingError> {
    let env = |name: &str| {
        let found = env.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    // As clap has it: the option, or else its variable.
    let variable = env(ECS_BRIDGE_PROXY).filter(|value| !value.is_empty());
    let variable = variable.and_then(|value| value.into_string().ok());
    let explicit = flag.map(str::to_owned).or(variable).map(SecretString::from);
    Proxies::new(explicit.as_ref(), &env)
}

/// The proxy for a host and the setting that it is from, as a user would read them; or "direct".
fn way(flag: Option<&str>, env: &[(&str, &str)], host: &str, port: u16) -> String {
    match proxies(flag, env).unwrap().decide(host, port, true).unwrap().0 {
        Route::Direct => "direct".to_owned(),
        Route::Through(proxy) => format!("{}:{} {}", proxy.host, proxy.port, proxy.origin),
    }
}

#[test]
fn the_first_setting_that_is_there_counts() {
    let all = [
        ("https_proxy", "low:1"),
        ("HTTPS_PROXY", "up:2"),
        ("all_proxy", "all-low:3"),
        ("ALL_PROXY", "all-up:4"),
        ("HTTP_PROXY", "http:5"),
        ("http_proxy", "http:5"),
    ];
    let of = |flag, env: &[(&str, &str)]| way(flag, env, "h.example", 443);
    assert_eq!(of(None, &[]), "direct");
    assert_eq!(of(None, &all), "low:1 https_proxy");
    assert_eq!(of(None, &all[1..]), "up:2 HTTPS_PROXY");
    assert_eq!(of(None, &all[2..]), "all-low:3 all_proxy");
    assert_eq!(of(None, &all[3..]), "all-up:4 ALL_PROXY");
    assert_eq!(of(None, &all[4..]), "direct");
    assert_eq!(of(None, &[("https_proxy", ""), ("HTTPS_PROXY", "up:2")]), "up:2 HTTPS_PROXY");
    assert_eq!(of(Some("flag:9"), &all), "flag:9 --proxy");
    let variable = [&all[..], &[(ECS_BRIDGE_PROXY, "own:8")]].concat();
    assert_eq!(of(None, &variable), "own:8 ECS_BRIDGE_PROXY");
    assert_eq!(of(Some("flag:9"), &variable), "flag:9 --proxy");
    for none in ["none", "NONE", " none "] {
        assert_eq!(of(Some(none), &variable), "direct");
    }
    assert_eq!(of(None, &[&all[..], &[(ECS_BRIDGE_PROXY, "none")]].concat()), "direct");
    // A program that a web server starts is no different: HTTP_PROXY is the one to distrust there.
    assert_eq!(of(None, &[&all[1..], &[("REQUEST_METHOD", "GET")]].concat()), "up:2 HTTPS_PROXY");
}

#[test]
fn what_is_not_encrypted_has_no_proxy_that_is_for_https() {
    let of = |flag, env: &[(&str, &str)], host| {
        let (route, note) = proxies(flag, env).unwrap().decide(host, 80, false)?;
        let way = match route {
            Route::Direct => "direct".to_owned(),
            Route::Through(proxy) => format!("{}:{} {}", proxy.host, proxy.port, proxy.origin),
        };
        Ok::<_, SettingError>((way, note))
    };
    let way = |flag, env: &[(&str, &str)]| of(flag, env, "h.example").unwrap().0;
    let all = [
        ("https_proxy", "low:1"),
        ("HTTPS_PROXY", "up:2"),
        ("HTTP_PROXY", "http:5"),
        ("http_proxy", "http:5"),
        ("all_proxy", "all-low:3"),
        ("ALL_PROXY", "all-up:4"),
    ];
    assert_eq!(way(None, &all), "all-low:3 all_proxy");
    assert_eq!(way(None, &all[5..]), "all-up:4 ALL_PROXY");
    assert_eq!(way(Some("flag:9"), &all), "flag:9 --proxy");
    assert_eq!(way(Some("none"), &all), "direct");
    let (way, note) = of(None, &all[..4], "h.example").unwrap();
    assert_eq!(way, "direct");
    assert_eq!(note.unwrap(), "without a proxy: https_proxy is for https://");
    // One that cannot be used is told of where it counts, and not gone around.
    let odd = [("HTTPS_PROXY", "p:1"), ("ALL_PROXY", "socks://u:pw@h"), ("NO_PROXY", "x.example")];
    let error = of(None, &odd, "h.example").unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Config);
    assert!(
        error.to_string().contains("ALL_PROXY") && !error.to_string().contains("pw"),
        "{error}"
    );
    assert_eq!(of(None, &odd, "x.example").unwrap().0, "direct");
    assert_eq!(of(None, &odd, "127.0.0.1").unwrap().0, "direct");
    assert_eq!(self::way(None, &odd, "h.example", 443), "p:1 HTTPS_PROXY");
}

#[test]
fn exceptions_hold_whichever_the_proxy_is() {
    for (list, host, port, direct) in [
        ("*", "h.example", 443, true),
        ("*", "192.0.2.1", 443, true),
        ("x,*", "2001:db8::1", 443, true),
        ("example", "h.example", 443, true),
        (".example", "h.example", 443, true),
        ("*.example", "h.example", 443, true),
        (".example", "example", 443, true),
        ("H.Example", "h.example", 443, true),
        ("h.example", "h.example.", 443, true),
        ("ample", "h.example", 443, false),
        ("h.example", "example", 443, false),
        ("other", "h.example", 443, false),
        ("a b,\tc , h.example", "h.example", 443, true),
        ("h.example:443", "h.example", 443, true),
        ("h.example:80", "h.example", 443, false),
        ("h.example:x", "h.example", 443, false),
        ("192.0.2.1", "192.0.2.1", 443, true),
        ("192.0.2.0/24", "192.0.2.200", 443, true),
        ("192.0.2.0/24", "192.0.3.1", 443, false),
        ("192.0.2.1:443", "192.0.2.1", 443, true),
        ("192.0.2.1:80", "192.0.2.1", 443, false),
        ("2001:db8::1", "2001:db8::1", 443, true),
        ("[2001:db8::1]", "2001:db8::1", 443, true),
        ("[2001:db8::1]:443", "2001:db8::1", 443, true),
        ("[2001:db8::1]:80", "2001:db8::1", 443, false),
        ("2001:db8::/32", "2001:db8:1::1", 443, true),
        // A name is not resolved to be compared.
        ("127.0.0.0/8", "h.example", 443, false),
        (",, ", "h.example", 443, false),
        ("", "h.example", 443, false),
    ] {
        let name = ["no_proxy", "NO_PROXY"][list.len() % 2];
        for (flag, env) in [(Some("p:1"), ""), (None, "p:1")] {
            let way = way(flag, &[(name, list), ("HTTPS_PROXY", env)], host, port);
            assert_eq!(way == "direct", direct, "{list:?} {host} {port}: {way}");
        }
    }
    let both = [("no_proxy", "x"), ("NO_PROXY", "h.example"), ("HTTPS_PROXY", "p:1")];
    assert_eq!(way(None, &both, "h.example", 443), "p:1 HTTPS_PROXY", "lower case comes first");
}

#[test]
fn this_machine_is_reached_through_a_proxy_on_it_that_was_asked_for() {
    for host in ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"] {
        assert_eq!(way(None, &[("HTTPS_PROXY", "p:1")], host, 443), "direct");
        assert_eq!(way(None, &[("ALL_PROXY", "127.0.0.1:1")], host, 443), "direct");
        assert_eq!(way(Some("p:1"), &[], host, 443), "direct");
        assert_eq!(way(Some("localhost:1"), &[], host, 443), "localhost:1 --proxy");
        let variable = [(ECS_BRIDGE_PROXY, "[::1]:1")];
        assert_eq!(way(None, &variable, host, 443), "::1:1 ECS_BRIDGE_PROXY");
        assert_eq!(way(Some("localhost:1"), &[("NO_PROXY", host)], host, 443), "direct");
    }
    for host in ["localhost.example", "10.0.0.1", "0.0.0.0", "128.0.0.1"] {
        assert_eq!(way(None, &[("HTTPS_PROXY", "p:1")], host, 443), "p:1 HTTPS_PROXY", "{host}");
    }
}

#[test]
fn what_is_of_no_use_is_an_error_only_where_it_counts() {
    let code = |flag, env: &[(&str, &str)]| {
        let error = proxies(flag, env).unwrap_err();
        let shown = format!("{error} {error:?} {:?} {:?}", error.why(), error.remedy());
        assert!(!shown.contains("pw"), "{shown}");
        (error.exit_code(), error.to_string())
    };
    let (exit, what) = code(Some("socks4://u:pw@h"), &[]);
    assert_eq!(exit, ExitCode::Usage);
    assert!(what.starts_with("the proxy of --proxy cannot be used: socks4://"), "{what}");
    assert_eq!(code(Some(""), &[]).0, ExitCode::Usage);
    let (exit, what) = code(None, &[("HTTPS_PROXY", "http://u:pw@h:x")]);
    assert_eq!(exit, ExitCode::Config);
    assert!(what.starts_with("the proxy of HTTPS_PROXY cannot be used"), "{what}");
    assert_eq!(code(None, &[(ECS_BRIDGE_PROXY, "ftp://u:pw@h")]).0, ExitCode::Config);
    let bad = [("HTTPS_PROXY", "ftp://u:pw@h"), ("ALL_PROXY", "ftp://u:pw@h")];
    assert_eq!(way(Some("none"), &bad, "h.example", 443), "direct");
    assert_eq!(way(Some("p:1"), &bad, "h.example", 443), "p:1 --proxy");
}

#[test]
fn no_text_of_the_settings_has_the_password() {
    let proxies = proxies(Some("http://user:pw@h:1"), &[]).unwrap();
    let route = proxies.decide("h.example", 443, true).unwrap().0;
    let text = format!("{proxies:?} {route:?} {:?}", proxies.clone());
    assert!(
        text.contains("http://h:1") && !text.contains("pw") && !text.contains("user"),
        "{text}"
    );
}

#[test]
fn faults_name_the_setting_and_the_way_out() {
    let proxy = url::parse("socks5h://u:pw@p", Origin::Variable("ALL_PROXY")).unwrap();
    let of = |kind| Fault::new(&proxy, "h.example", 443, kind);
    let kinds = [
        FaultKind::Resolve("x".into()),
        FaultKind::Connect("x".into()),
        FaultKind::Timeout(std::time::Duration::from_secs(5)),
        FaultKind::Silent(std::time::Duration::from_secs(5)),
        FaultKind::Tls(crate::tls::Fault::NotTls),
        FaultKind::TargetName("x".into()),
        FaultKind::Target,
        FaultKind::Login { given: false },
        FaultKind::Login { given: true },
        FaultKind::NoLogin,
        FaultKind::OtherLogin { kinds: "NTLM".into() },
        FaultKind::Refused { code: 403, status: "403 Forbidden".into() },
        FaultKind::Socks { code: 2 },
        FaultKind::NotAProxy { speaks: "SOCKS5", said: "'x'".into() },
        FaultKind::Closed,
    ];
    for kind in kinds {
        let fault = of(kind);
        let (why, fix) = (fault.why().unwrap(), fault.remedy().unwrap());
        assert_eq!(fault.exit_code(), ExitCode::Network);
        assert!(why.contains("ALL_PROXY"), "{fault}: {why}");
        let text = format!("{fault} {fault:?} {why} {fix}");
        assert!(!text.contains("pw"), "{text}");
    }
    let retried = |kind| of(kind).is_worth_a_retry();
    assert!(retried(FaultKind::Closed) && retried(FaultKind::Socks { code: 4 }));
    assert!(!retried(FaultKind::Login { given: true }) && !retried(FaultKind::Socks { code: 2 }));
    assert!(retried(FaultKind::Refused { code: 502, status: String::new() }));
    assert!(!retried(FaultKind::Refused { code: 403, status: String::new() }));
}
