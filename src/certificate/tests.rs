use super::*;
use crate::config::TlsMode;
use std::os::unix::fs::PermissionsExt as _;

fn names() -> Vec<String> {
    ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec()
}

fn pair(folder: &Path) -> Tls {
    let tls =
        Tls { mode: TlsMode::On, cert: folder.join("server.pem"), key: folder.join("server.key") };
    let made = make_dev(&names()).unwrap();
    fs::write(&tls.cert, made.cert).unwrap();
    secret_file::create(&tls.key, made.key.as_pem()).unwrap();
    tls
}

#[test]
fn a_development_certificate_can_be_used_and_browsers_accept_its_lifetime() {
    let folder = tempfile::tempdir().unwrap();
    let key = load(&pair(folder.path())).unwrap();
    let Validity { from, until } = validity(&key).unwrap();
    let now = SystemTime::now();
    assert!(from <= now - Duration::from_secs(59 * 60) && from > now - 2 * BACKDATED);
    assert!(until.duration_since(from).unwrap() < Duration::from_secs(398 * 24 * 60 * 60));
    assert!(until > now + Duration::from_secs(390 * 24 * 60 * 60));
}

#[test]
fn a_lost_certificate_is_made_anew_for_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let tls = pair(folder.path());
    let cert = make_dev_for_key(&names(), &tls.key).unwrap();
    fs::write(&tls.cert, cert).unwrap();
    load(&tls).unwrap();
}

#[test]
fn a_key_of_another_certificate_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let tls = pair(folder.path());
    fs::write(&tls.cert, make_dev(&names()).unwrap().cert).unwrap();
    let shown = load(&tls).unwrap_err().to_string();
    assert!(shown.contains("is not the one that the certificate was made for"), "{shown}");
}

#[test]
fn files_that_hold_something_else_are_refused_with_what_belongs_there() {
    let folder = tempfile::tempdir().unwrap();
    let tls = pair(folder.path());

    let swapped = Tls { cert: tls.key.clone(), ..tls.clone() };
    assert!(matches!(load(&swapped), Err(CertificateError::NoCertificate { .. })));

    let missing = Tls { cert: folder.path().join("none"), ..tls.clone() };
    let shown = load(&missing).unwrap_err().to_string();
    assert!(shown.contains("imserver cert dev"), "{shown}");

    let secret = fs::read_to_string(&tls.key).unwrap();
    fs::write(&tls.key, "no key at all\n").unwrap();
    assert!(matches!(load(&tls), Err(CertificateError::NoKey { .. })));

    fs::write(&tls.key, &secret).unwrap();
    fs::set_permissions(&tls.key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = load(&tls).unwrap_err();
    assert!(matches!(error, CertificateError::KeyFile(SecretFileError::Open { .. })));
    let body = secret.lines().nth(1).unwrap();
    assert!(!format!("{error} {error:?}").contains(body));
    assert_eq!(format!("{:?}", make_dev(&names()).unwrap().key), "DevKey(…)");
}
