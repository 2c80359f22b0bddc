//! Settings that have rules of their own, and what they say of a value that breaks them.

use super::*;

#[test]
fn keys_are_fetched_from_https_addresses_alone() {
    let read = |address: &str| {
        let text = format!("[auth]\njwks_url = {address:?}");
        parse(&text).map(|config| config.auth.jwks_url).map_err(|_| fault(&text))
    };
    for good in [
        "https://id.example/keys",
        "https://id.example",
        "https://id.example:8443/a/b.json?p=policy",
        "https://[::1]:1/keys",
        "https://127.0.0.1/",
    ] {
        assert_eq!(read(good).unwrap().as_deref(), Some(good));
    }
    assert_eq!(read("").unwrap(), None);
    for (bad, expected) in [
        ("http://id.example/keys", "\"http://id.example/keys\" is not https; write https://"),
        ("file:///etc/keys.json", "\"file:///etc/keys.json\" is no "),
        ("https://ming:secret@id.example/", "it has a user's name or password in it; leave"),
        ("https://id.example/keys#new", "it has a fragment, which is never sent; leave"),
        ("https://id.example:99999/keys", "\"https://id.example:99999/keys\" "),
        ("https://id.example:0/keys", "\"https://id.example:0/keys\" has no host, or no valid"),
        ("https://id.example:/keys", "\"https://id.example:/keys\" has no host, or no valid"),
        ("https:///keys", "\"https:///keys\" "),
        ("id.example/keys", "\"id.example/keys\" is no "),
        ("/keys", "\"/keys\" is no whole address"),
        ("https://id example/", "\"https://id example/\" is no address"),
        // These used to be shown.
        ("ming:secret@id.example/keys", "this, which may hold a password, is no "),
        ("https://ming:a secret@id.example/", "this, which may hold a password, is no "),
        ("https://ming:secret/@id.example/", "this, which may hold a password, "),
    ] {
        let found = read(bad).unwrap_err();
        assert!(found.starts_with(&format!("2: auth.jwks_url: {expected}")), "{bad}: {found}");
        assert!(!found.contains("secret"), "{found}");
    }
}

#[test]
fn the_servers_of_a_cluster_are_a_section_within_a_section() {
    let text = "[store]\nbackend = \"jetstream\"\n[store.jetstream]\n\
                servers = [\"tls://a.example:4222\", \"nats://127.0.0.1:4222\"]\n\
                ca = \"certs/nats.pem\"\nuser = \"im\"\npassword_file = \"nats.password\"";
    let store = parse(text).unwrap().store;
    assert_eq!(store.backend, Backend::JetStream);
    assert_eq!(store.jetstream.servers, ["tls://a.example:4222", "nats://127.0.0.1:4222"]);
    assert!(store.jetstream.ca.unwrap().ends_with("certs/nats.pem"));
    let variables = [
        ("IMSERVER_STORE__JETSTREAM__PARTITIONS", "16"),
        ("IMSERVER_STORE__JETSTREAM__CREATE", "true"),
    ];
    let jetstream = with_variables(text, &variables).unwrap().store.jetstream;
    assert_eq!((jetstream.partitions, jetstream.create), (16, true));
}

#[test]
fn a_deployment_has_a_name_or_is_called_by_what_its_nodes_agree_on() {
    let named = |text| parse(text).unwrap().store.deployment;
    assert_eq!(named(""), "imserver of imserver");
    let by_tokens = "[auth]\nissuer = \"https://id.example\"\naudience = \"chat\"\n";
    assert_eq!(named(by_tokens), "chat of https://id.example");
    let own = format!("{by_tokens}[store.jetstream]\ndeployment = \"staging\"");
    assert_eq!(named(&own), "staging");
}

#[test]
fn what_is_wrong_with_a_cluster_is_said() {
    for (text, expected) in [
        ("[store]\nbackend = \"jetstream\"", "2: store.backend: it names no servers"),
        ("[store.jetstream]\nreplica = 3", "2: store.jetstream.replica: "),
        ("[store]\njetstream = 3", "2: store.jetstream: this is a section, not a number"),
        ("[store.jetstream]\nuser = \"a\"", "2: store.jetstream.user: one goes with the other"),
        ("[store.jetstream]\nprefix = \"a.b\"", "2: store.jetstream.prefix: \"a.b\" cannot"),
        ("[store.jetstream]\nreplicas = 2", "2: store.jetstream.replicas: 2 is even"),
        ("[store.jetstream]\nreplicas = 6", "2: store.jetstream.replicas: 6 is out of range"),
        (
            "[store.jetstream]\nservers = [\"tls://a:1\", \"tls://b:1\", \"tls://a:1\"]",
            "2: store.jetstream.servers: tls://a:1 is there twice",
        ),
        ("[store.jetstream]\npartitions = 0", "2: store.jetstream.partitions: 0 is out of range"),
    ] {
        let found = fault(text);
        assert!(found.starts_with(expected), "{found}");
    }
    for bad in [
        "nats://10.0.0.1:4222",
        "nats://a.example:4222",
        "ws://a.example:4222",
        "a.example:4222",
        "tls://a.example",
        "tls://:4222",
        "tls://a b:4222",
        "tls://user:secret@a.example:4222",
        "user:secret@a.example:4222",
    ] {
        let found = fault(&format!("[store.jetstream]\nservers = [\"{bad}\"]"));
        assert!(found.starts_with("2: store.jetstream.servers: "), "{found}");
        assert!(!found.contains("secret"), "{found}");
    }
    let found = faults(with_variables("", &[("IMSERVER_STORE__JETSTREAM__SERVER", "x")]));
    assert_eq!(found.len(), 1, "{found:?}");
    let said = format!("{found:?}");
    assert!(said.contains("IMSERVER_STORE__JETSTREAM__SERVERS"), "{said}");
}

#[test]
fn plain_websockets_stay_on_loopback() {
    let found = fault("[tls]\nmode = \"off\"");
    assert!(found.starts_with(
        "2: tls.mode: \"off\" would send tokens and messages in the clear over 0.0.0.0:8443;"
    ));
    let found = fault(
        "[tls]\nmode = \"off\"\n[server]\nlisten = \"[::1]:80\"\nadmin_listen = \"0.0.0.0:81\"",
    );
    assert!(found.contains("over 0.0.0.0:81"), "{found}");
    let config = parse("[tls]\nmode = \"off\"\n[server]\nlisten = \"127.0.0.1:8080\"").unwrap();
    assert_eq!(config.tls.mode, TlsMode::Off);
    // A faulty address is one fault, not two.
    fault("[server]\nlisten = \"nowhere\"\n[tls]\nmode = \"off\"");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (text, expected) in [
        (
            "[server]\nadmin_listen = \"127.0.0.1:8443\"",
            "2: server.admin_listen: 127.0.0.1:8443 is taken by server.listen",
        ),
        (
            "[limits]\nframe_bytes = 1000",
            "2: limits.frame_bytes: a content of 16384 bytes does not fit a frame of 1000",
        ),
        (
            "[auth]\naudience = \"imserver-admin\"",
            "2: auth.audience: users and administrators have the same one",
        ),
        (
            "[store]\nretention = \"9m\"",
            "2: store.retention: a message would be gone after 9m, but store.dedup_window is 10m",
        ),
        (
            "[limits]\nresend_after = \"6s\"",
            "2: limits.resend_after: 6s would take true resends for new messages",
        ),
    ] {
        let found = fault(text);
        assert!(found.starts_with(expected), "{text:?}\n  gives {found}\n   not {expected}");
    }
    parse("[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"").unwrap();
}

#[test]
fn proxies_are_addresses_and_networks_and_never_everybody() {
    let all = r#"["10.0.0.7", "10.1.0.0/16", "::ffff:192.0.2.7", "2001:db8::/32"]"#;
    for key in ["trusted_proxies", "proxy_protocol"] {
        let server = parse(&format!("[server]\n{key} = {all}")).unwrap().server;
        let list =
            if key == "proxy_protocol" { server.proxy_protocol } else { server.trusted_proxies };
        assert_eq!(list.to_string(), "10.0.0.7, 10.1.0.0/16, 192.0.2.7, 2001:db8::/32");
        for (address, listed) in [
            ("10.0.0.7", true),
            ("::ffff:10.0.0.7", true),
            ("10.0.0.8", false),
            ("10.1.255.1", true),
            ("10.2.0.0", false),
            ("192.0.2.7", true),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(list.contain(address.parse().unwrap()), listed, "{address}");
        }
        for (bad, expected) in [
            ("0.0.0.0/0", "\"0.0.0.0/0\" is everybody, who could then claim to be anybody; write"),
            ("::/0", "\"::/0\" is everybody"),
            ("::ffff:0:0/96", "\"::ffff:0:0/96\" is everybody"),
            ("10.0.0.7/8", "\"10.0.0.7/8\" is an address within a network; write \"10.0.0.7\" or"),
            ("10.0.0.0/33", "\"10.0.0.0/33\" is no IP address and no network; write"),
            ("balancer", "\"balancer\" is no IP address and no network; write"),
            ("10.0.0.7:443", "\"10.0.0.7:443\" is no IP address and no network; write"),
        ] {
            let found = fault(&format!("[server]\n{key} = [\"{bad}\"]"));
            assert!(found.starts_with(&format!("2: server.{key}: {expected}")), "{found}");
        }
    }
}

#[test]
fn origins_are_written_as_browsers_write_them() {
    for good in [
        "https://chat.example.com",
        "https://localhost:8443",
        "http://127.0.0.1:3000",
        "https://[::1]:8443",
        "https://[::1]",
        "capacitor://localhost",
        "chrome-extension://abcdef",
    ] {
        let config = parse(&format!("[server]\norigins = [\"{good}\"]")).unwrap();
        assert_eq!(config.server.origins, [good]);
    }
    for (bad, expected) in [
        ("*", "would let every web page in"),
        ("null", "is no origin"),
        ("chat.example.com", "is no origin"),
        ("https://", "is no origin"),
        ("https://a b", "is no origin"),
        ("https://user@a", "is no origin"),
        ("https://[::1", "is no origin"),
        ("https://a/", "write \"https://a\""),
        ("https://a/chat?x#y", "write \"https://a\""),
        ("https://A.example", "browsers write \"https://a.example\""),
        ("https://münchen.example", "xn--"),
        ("https://a:443", "browsers leave the usual port out: \"https://a\""),
        ("https://a:0", "has no valid port"),
        ("https://a:08443", "has no valid port"),
        ("https://a:", "has no valid port"),
        ("https://a:99999", "has no valid port"),
    ] {
        let found = fault(&format!("[server]\norigins = [\"{bad}\"]"));
        assert!(found.contains(expected), "{bad}: {found}");
    }
}
