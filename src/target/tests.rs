use proptest::prelude::*;

use super::*;

fn region(name: &str) -> Region {
    Region::parse(name).unwrap()
}

fn parse(input: &str) -> (Selector, Option<String>) {
    let target = Target::parse(input, &[region("x1-private")]).unwrap();
    assert_eq!(target.input, input);
    (target.selector, target.region.map(|region| region.to_string()))
}

fn name(text: &str) -> Selector {
    Selector::Name(text.to_owned())
}

fn id(text: &str) -> Selector {
    Selector::Id(text.to_owned())
}

fn tag(key: &str, value: Option<&str>) -> Selector {
    Selector::Tag(key.to_owned(), value.map(str::to_owned))
}

#[test]
fn every_form_is_understood() {
    let address = Selector::Address(Ipv4Addr::new(10, 0, 0, 7));
    for (input, selector, in_region) in [
        ("i-bp1example0001", id("i-bp1example0001"), None),
        ("mi-hz01example", id("mi-hz01example"), None),
        ("i-bp1.cn-beijing", id("i-bp1"), Some("cn-beijing")),
        ("i-bp1.cn-beijing.ecs", id("i-bp1"), Some("cn-beijing")),
        ("i-bp1.ecs", id("i-bp1"), None),
        ("i-web_1", name("i-web_1"), None),
        ("i-数据", name("i-数据"), None),
        ("i-", name("i-"), None),
        ("web-1", name("web-1"), None),
        ("web-1.ecs", name("web-1"), None),
        ("web-1.ap-southeast-1.ecs", name("web-1"), Some("ap-southeast-1")),
        ("web-1.cn-shenzhen-finance-1", name("web-1"), Some("cn-shenzhen-finance-1")),
        ("web-1.x1-private", name("web-1"), Some("x1-private")),
        ("web-1.example", name("web-1.example"), None),
        ("web-1.example.com.ecs", name("web-1.example.com"), None),
        ("web-1.ecs.ecs", name("web-1.ecs"), None),
        ("web-1.cn-beijing.cn-hangzhou", name("web-1.cn-beijing"), Some("cn-hangzhou")),
        ("cn-beijing", name("cn-beijing"), None),
        (".cn-beijing", name(".cn-beijing"), None),
        ("ecs", name("ecs"), None),
        ("数据库 一", name("数据库 一"), None),
        ("web-*", name("web-*"), None),
        ("a;rm -rf /$(x)`y`'\"", name("a;rm -rf /$(x)`y`'\""), None),
        ("10.0.0.7", address.clone(), None),
        ("10.0.0.7.us-east-1.ecs", address, Some("us-east-1")),
        ("10.0.0", name("10.0.0"), None),
        ("10.0.0.256", name("10.0.0.256"), None),
        ("tag:env=prod", tag("env", Some("prod")), None),
        ("tag:env", tag("env", None), None),
        ("tag:env=", tag("env", Some("")), None),
        ("tag:a=b=c.me-east-1", tag("a", Some("b=c")), Some("me-east-1")),
        ("tag:app=web.example", tag("app", Some("web.example")), None),
    ] {
        assert_eq!(parse(input), (selector, in_region.map(str::to_owned)), "{input}");
    }
}

#[test]
fn regions_are_known_by_their_looks() {
    // Those that the service documents.
    for word in "cn-qingdao cn-beijing cn-zhangjiakou cn-huhehaote cn-wulanchabu cn-hangzhou \
                 cn-shanghai cn-nanjing cn-fuzhou cn-shenzhen cn-heyuan cn-guangzhou cn-chengdu \
                 cn-hongkong cn-wuhan-lr cn-zhongwei cn-shanghai-finance-1 cn-shenzhen-finance-1 \
                 cn-beijing-finance-1 cn-hangzhou-finance cn-north-2-gov-1 cn-beijing-gov-1 cn-fujian \
                 ap-southeast-1 ap-southeast-7 ap-northeast-1 ap-northeast-2 ap-south-1 us-east-1 \
                 us-west-1 us-southeast-1 na-south-1 eu-west-1 eu-central-1 me-east-1 me-central-1"
        .split(' ')
    {
        assert!(is_region(word), "{word}");
    }
    for word in "example com ecs cn cn- cn-1 cn-a cn-beijing- cn--x cn-Beijing eu-primary us-east \
                 us-east-1-a us-east-x us-1 prod-east-1 1 ap-southeast-"
        .split(' ')
    {
        assert!(!is_region(word), "{word}");
    }
}

#[test]
fn what_names_nothing_is_refused() {
    let error = |input: &str| Target::parse(input, &[]).unwrap_err();
    for input in ["", ".ecs", "  ", "   .cn-beijing"] {
        assert_eq!(error(input), TargetError::Empty, "{input:?}");
    }
    for input in ["a\nb", "a\u{1b}[31m", "\0", "web\r"] {
        assert_eq!(error(input), TargetError::Control(input.to_owned()));
        assert!(!error(input).to_string().contains(char::is_control));
    }
    assert_eq!(error(&"x".repeat(129)), TargetError::TooLong);
    assert!(Target::parse(&"数".repeat(128), &[]).is_ok());
    for input in ["tag:", "tag:=x", "tag:.ecs"] {
        assert!(matches!(error(input), TargetError::NoKey(_)), "{input}");
    }
}

#[test]
fn the_words_for_an_instance_lead_to_it() {
    let (home, other) = (region("cn-hangzhou"), region("cn-beijing"));
    let of = |name: &str, region: &Region| input_for("i-bp1", name, region, &home);
    assert_eq!(of("web-1", &home), "web-1");
    assert_eq!(of("web-1", &other), "web-1.cn-beijing");
    assert_eq!(of("web.cn-beijing", &home), "web.cn-beijing.cn-hangzhou");
    assert_eq!(of("web.ecs", &home), "web.ecs.cn-hangzhou");
    // Names that are taken for something else.
    for name in ["10.0.0.1", "tag:a=b", "i-other", "", "a\nb"] {
        assert_eq!(of(name, &home), "i-bp1");
        assert_eq!(of(name, &other), "i-bp1.cn-beijing");
    }
}

#[test]
fn patterns_mean_names() {
    for (pattern, name, means) in [
        ("web-1", "WEB-1", true),
        ("web-1", "web-10", false),
        ("web-*", "Web-", true),
        ("*-1", "web-1", true),
        ("*-1", "web-12", false),
        ("*", "", true),
        ("a*b*c", "abbc", true),
        ("a*b*c", "acb", false),
        ("a*a", "a", false),
        ("*数据*", "主数据库", true),
    ] {
        assert_eq!(is_like(pattern, name), means, "{pattern} {name}");
    }
}

#[test]
fn what_belongs_to_ssh_is_told_so() {
    let fix = |input: &str| Target::parse(input, &[]).unwrap_err().remedy().unwrap();
    for (input, says) in [
        ("root@i-bp1a", "ssh root@i-bp1a; here give i-bp1a"),
        ("admin@web-1", "ssh admin@web-1.ecs; here give web-1"),
        ("i-bp1a:22", "i-bp1a 22; with ssh: ssh -p 22 root@i-bp1a"),
        ("web-1.ecs:2222", "web-1.ecs 2222"),
        ("i-bp1a.cn-beijing:22", "i-bp1a.cn-beijing 22"),
    ] {
        assert!(fix(input).contains(says), "{input}: {}", fix(input));
    }
    for (input, selector) in [
        ("'i-bp1a'", id("i-bp1a")),
        ("\"web-1\"", Selector::Name("web-1".to_owned())),
        ("'web-1", Selector::Name("'web-1".to_owned())),
        ("tag:owner=me@here", Selector::Tag("owner".to_owned(), Some("me@here".to_owned()))),
        ("web:1", Selector::Name("web:1".to_owned())),
    ] {
        assert_eq!(Target::parse(input, &[]).unwrap().selector, selector, "{input}");
    }
}

fn regions() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("cn-hangzhou".to_owned()),
        "cn-[a-z]{2,9}(-[a-z0-9]{1,7}){0,2}",
        "(ap|us|eu|me|na)-(north|south|east|west|central|southeast)-[1-9]",
    ]
}

proptest! {
    #[test]
    fn words_never_panic(input in any::<String>()) {
        let _ = Target::parse(&input, &[region("cn-hangzhou")]);
    }

    #[test]
    fn words_of_dots_and_the_like_never_panic(input in "[.*:=a-c-]{0,12}(tag:|\\.ecs|\\.cn-beijing|i-|数){0,4}") {
        let _ = Target::parse(&input, &[]);
    }

    #[test]
    fn a_name_with_a_region_is_read_back(name in "\\PC{1,40}", place in regions()) {
        let alone = Selector::parse(&name);
        let input = format!("{name}.{place}.ecs");
        match Target::parse(&input, &[]) {
            Ok(target) => {
                prop_assert_eq!(Ok(target.selector), alone);
                prop_assert_eq!(target.region.map(|r| r.to_string()), Some(place));
            }
            // A name that looks like `user@instance` is found by its id.
            Err(TargetError::User { .. } | TargetError::Port { .. }) => {}
            Err(error) => prop_assert_eq!(Err(error), alone),
        }
    }

    #[test]
    fn whatever_it_is_called_words_lead_to_it(name in "\\PC{0,40}|i-[a-z]{1,3}|[0-9.]{7}", place in regions()) {
        let (home, there) = (region("cn-hangzhou"), region(&place));
        let input = input_for("i-bp1example", &name, &there, &home);
        let target = Target::parse(&input, std::slice::from_ref(&home)).unwrap();
        prop_assert_eq!(target.region.unwrap_or(home), there);
        prop_assert!(
            target.selector == Selector::Name(name) || target.selector == id("i-bp1example")
        );
    }
}
