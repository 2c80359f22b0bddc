use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use tempfile::TempDir;

use super::*;
use crate::auth::alg::Alg;
use crate::auth::generate::generate;
use crate::auth::json::Json;
use crate::auth::jwk::Key;
use crate::auth::testing::{key, public_half, set};

/// A directory with a set of one key in it.
fn with_set(private: bool) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("keys.json");
    let mut one = key(Alg::EdDsa);
    if !private {
        one = Key::read(Json::Object(public_half(&one))).unwrap();
    }
    fs::write(&path, set([one]).to_text().unwrap()).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    (directory, path)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn fault(path: &Path) -> FileFault {
    match KeySet::load(path) {
        Err(KeySetError::File { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn secrets_are_for_their_owner_alone() {
    let (_directory, path) = with_set(true);
    assert!(KeySet::load(&path).is_ok());
    chmod(&path, 0o400);
    assert!(KeySet::load(&path).is_ok());
    for mode in [0o640, 0o604, 0o644, 0o610] {
        chmod(&path, mode);
        let error = KeySet::load(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("`chmod 600 {}`", path.display())), "{error}");
        assert!(error.contains(&format!("{mode:04o}")), "{error}");
    }
    for mode in [0o620, 0o602, 0o666, 0o777] {
        chmod(&path, mode);
        assert!(matches!(fault(&path), FileFault::Writable { right: "600", .. }));
    }
}

#[test]
fn public_keys_may_be_read_by_all_and_changed_by_none() {
    let (_directory, path) = with_set(false);
    chmod(&path, 0o644);
    assert!(KeySet::load(&path).is_ok());
    for mode in [0o664, 0o646] {
        chmod(&path, mode);
        assert!(matches!(fault(&path), FileFault::Writable { right: "644", .. }));
    }
}

#[test]
fn only_a_regular_file_is_read() {
    let (directory, path) = with_set(true);
    let link = directory.path().join("link.json");
    symlink(&path, &link).unwrap();
    assert_eq!(fault(&link), FileFault::Link);
    let dangling = directory.path().join("dangling.json");
    symlink("nowhere", &dangling).unwrap();
    assert_eq!(fault(&dangling), FileFault::Link);
    assert_eq!(fault(directory.path()), FileFault::NotAFile);
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(fault(&pipe), FileFault::NotAFile);
    let large = directory.path().join("large");
    File::create(&large).unwrap().set_len(FILE_MAX + 1).unwrap();
    assert_eq!(fault(&large), FileFault::TooLarge);
}

#[test]
fn a_file_of_another_user_is_refused() {
    if !geteuid().is_root() {
        // Only root can give a file away.
        return;
    }
    let (_directory, path) = with_set(true);
    chown(&path, Some(12345), None).unwrap();
    let error = KeySet::load(&path).unwrap_err().to_string();
    assert!(error.contains("belongs to user 12345"), "{error}");
    assert!(error.contains("`chown 0 "), "{error}");
}

#[test]
fn a_directory_where_all_may_write_is_refused() {
    let (directory, path) = with_set(true);
    chmod(directory.path(), 0o777);
    assert!(matches!(fault(&path), FileFault::OpenDirectory { mode: 0o777, .. }));
    chmod(directory.path(), 0o1777);
    assert!(KeySet::load(&path).is_ok());
}

#[test]
fn a_missing_and_an_empty_set_say_how_to_make_one() {
    let (directory, path) = with_set(true);
    let missing = KeySet::load(&directory.path().join("none.json")).unwrap_err();
    assert!(matches!(missing, KeySetError::Missing(_)));
    fs::write(&path, r#"{"keys":[]}"#).unwrap();
    let empty = KeySet::load(&path).unwrap_err();
    assert!(matches!(empty, KeySetError::Empty(_)));
    for error in [missing, empty] {
        assert!(error.to_string().contains("`imserver key generate --alg EdDSA`"), "{error}");
    }
}

#[test]
fn adding_keys_keeps_the_others_and_the_secrets_secret() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("certs/keys.json");
    let mut kids = Vec::new();
    for alg in [Alg::EdDsa, Alg::Hs256, Alg::Es256] {
        let new = generate(alg).unwrap();
        kids.push(new.kid().unwrap().to_owned());
        KeySet::edit(&path, |keys| keys.add(new)).unwrap();
        let entries = KeySet::load(&path).unwrap().list();
        let found: Vec<_> = entries.iter().map(|entry| entry.kid.clone().unwrap()).collect();
        assert_eq!(found, kids);
        assert!(entries.last().unwrap().signs);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }
    // Nothing else is left lying about.
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_change_of_public_keys_leaves_them_to_who_could_read_them() {
    let (_directory, path) = with_set(false);
    let other = key(Alg::Es256);
    let public = || Key::read(Json::Object(public_half(&other))).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    for readable in [0o644, 0o640, 0o600] {
        chmod(&path, readable);
        KeySet::edit(&path, |keys| keys.add(public())).unwrap();
        // It used to be 0600: a server of another user knew no keys any more.
        assert_eq!(mode(&path), readable);
        KeySet::edit(&path, |keys| keys.retire(public().kid().unwrap())).unwrap();
        assert_eq!(mode(&path), readable);
    }
    chmod(&path, 0o644);
    KeySet::edit(&path, |keys| keys.add(other)).unwrap();
    assert_eq!(mode(&path), 0o600, "there is a secret in it now");
}

#[test]
fn a_change_that_fails_leaves_the_file_as_it_was() {
    let (directory, path) = with_set(true);
    let before = fs::read(&path).unwrap();
    let taken = KeySet::edit(&path, |keys| keys.add(key(Alg::EdDsa)));
    assert!(matches!(taken, Err(KeySetError::Set { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::write(&path, "not a key set").unwrap();
    assert!(KeySet::edit(&path, |keys| keys.add(key(Alg::Hs256))).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"not a key set");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn keys_added_at_the_same_time_are_all_there() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("keys.json");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let new = generate(Alg::EdDsa).unwrap();
                KeySet::edit(&path, |keys| keys.add(new)).unwrap();
            });
        }
    });
    assert_eq!(KeySet::load(&path).unwrap().list().len(), 8);
}

#[test]
fn a_path_is_shown_as_a_shell_takes_it() {
    let shown = |path: &str| Shown(path.into()).to_string();
    assert_eq!(shown("certs/keys.json"), "certs/keys.json");
    assert_eq!(shown("my keys/it's.json"), r"'my keys/it'\''s.json'");
}
