use crate::program::Folder;

#[test]
fn an_issued_token_stands_alone_on_stdout_and_is_accepted_here() {
    let folder = Folder::ready();
    let said = folder.run(&["token", "issue", "--sub", "1", "--name", "小明"]);
    assert_eq!(said.code, 0, "{said:?}");
    let token = said.out.strip_suffix('\n').unwrap();
    assert_eq!(token.split('.').count(), 3, "{token}");
    assert!(!token.contains(char::is_whitespace));
    let said = folder.run(&["token", "inspect", token]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("user 1"), "{}", said.out);

    let other = Folder::ready();
    let said = other.run(&["token", "inspect", token]);
    assert_eq!(said.code, 1, "{said:?}");
    // Whoever issues tokens is told what would have been right.
    assert!(said.err.contains("(unknown_kid); auth.keys has \""), "{said:?}");
    for (setting, value, wanted) in [
        ("IMSERVER_AUTH__ISSUER", "me", "(wrong_issuer); auth.issuer is \"me\""),
        ("IMSERVER_AUTH__AUDIENCE", "us", "(wrong_audience); auth.audience is \"us\", and"),
        ("IMSERVER_AUTH__MAX_LIFETIME", "10m", "(too_long_lived), 10m"),
    ] {
        let said = folder.run_with((setting, value), &["token", "inspect", token]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains(wanted), "{said:?}");
    }
}

#[test]
fn keys_are_made_and_listed_without_their_secrets() {
    let folder = Folder::ready();
    assert_eq!(folder.run(&["key", "generate", "--alg", "ES256"]).code, 0);
    let said = folder.run(&["key", "list"]);
    assert_eq!(said.out.lines().count(), 2, "{}", said.out);
    assert!(said.out.contains("EdDSA") && said.out.contains("ES256"), "{}", said.out);
    let said = folder.run(&["config", "check"]);
    assert!(said.out.contains("2 keys; ") && said.out.contains("(ES256) signs"), "{}", said.out);
}

#[test]
fn a_set_may_be_empty_where_a_provider_has_the_keys() {
    let folder = Folder::ready();
    folder.write("certs/keys.json", r#"{"keys":[]}"#);
    let provider = ("IMSERVER_AUTH__JWKS_URL", "https://login.example/keys");
    // It used to ask for a key of one's own.
    let said = folder.run_with(provider, &["key", "list"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.starts_with("no key can sign"), "{}", said.out);
    assert!(said.out.contains("those of https://login.example/keys"), "{}", said.out);
    let said = folder.run(&["key", "list"]);
    assert_eq!(said.code, 2, "{said:?}");
}

#[test]
fn wrong_usage_and_unusable_keys_exit_2() {
    let folder = Folder::ready();
    for wrong in [
        &["token", "issue"][..],
        &["token", "issue", "--sub", "0"],
        &["token", "issue", "--sub", "01"],
        &["token", "issue", "--sub", "1", "--ttl", "31d"],
        &["key", "generate", "--alg", "none"],
        &["key", "retire", "nobody"],
        &["token", "revoke"],
        &["token", "revoke", ""],
        &["token", "revoke", "x", "--sub", "1"],
        &["token", "revoke", "--sub", "0"],
        &["token", "revoke", "eyJh.eyJz.c2ln"],
        &["user", "disable", "0"],
        &["user", "disable"],
    ] {
        let said = folder.run(wrong);
        assert_eq!(said.code, 2, "{wrong:?}: {said:?}");
        // It used to ask for the token alone, and not to say that a user would do.
        let bare = wrong == ["token", "revoke"];
        assert!(!bare || said.err.contains("<JWT|JTI|--sub <ID>>"), "{said:?}");
        assert_eq!(said.out, "");
    }
    folder.set_mode("certs/keys.json", 0o644);
    let said = folder.run(&["token", "issue", "--sub", "1"]);
    assert_eq!(said.code, 2, "{said:?}");
    folder.remove("certs/keys.json");
    let said = folder.run(&["token", "issue", "--sub", "1"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("imserver key generate"), "{}", said.err);
}
