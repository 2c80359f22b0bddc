//! Whom the store lets into its directory, and what it refuses as one.

use super::*;

#[tokio::test]
async fn a_second_opening_of_the_same_directory_is_refused() {
    let folder = folder();
    let (store, _tail) = open_at(folder.path()).unwrap();
    for _ in 0..2 {
        let error = open_at(folder.path()).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        assert!(error.to_string().contains("in use by another process"));
    }
    append(&store, 1).await;
    store.close().await.unwrap();
    open_at(folder.path()).unwrap();
}

#[test]
fn a_new_directory_is_made_for_its_owner_alone() {
    let folder = folder();
    let path = folder.path().join("a/b/data");
    let (store, _tail) = open_at(&path).unwrap();
    for made in ["a", "a/b", "a/b/data"] {
        let mode = fs::metadata(folder.path().join(made)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o700, "{made}");
    }
    drop(store);
}

#[test]
fn a_directory_open_to_others_is_refused() {
    for mode in [0o755, 0o750, 0o701, 0o770] {
        let folder = folder();
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        let error = refused(folder.path());
        assert!(error.contains("chmod 700"), "{error}");
        assert!(error.contains(&format!("{mode:04o}")), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_file_in_the_place_of_the_directory_is_refused() {
    let folder = folder();
    let path = folder.path().join("data");
    fs::write(&path, "").unwrap();
    assert!(refused(&path).contains("Name a directory"));
}

/// Root may write anywhere: there, only the read-only disk of the whole server's
/// tests shows this.
#[tokio::test]
async fn what_cannot_be_written_is_refused() {
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = folder();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o500)).unwrap();
    assert!(refused(folder.path()).contains("It must belong to the user"));
    let folder = closed().await;
    for file in ["sled/db", "manifest.json"] {
        let file = folder.path().join(file);
        fs::set_permissions(&file, Permissions::from_mode(0o000)).unwrap();
        assert!(refused(folder.path()).contains("It must belong to the user"));
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    }
}

/// They used to be called damaged, and the operator told to restore a backup.
#[tokio::test]
async fn volumes_that_may_not_be_opened_are_not_called_damaged() {
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = closed().await;
    let volumes = folder.path().join("volumes");
    fs::create_dir_all(&volumes).unwrap();
    let before = fs::metadata(&volumes).unwrap().permissions();
    fs::set_permissions(&volumes, Permissions::from_mode(0o000)).unwrap();
    assert!(refused(folder.path()).contains("It must belong to the user"));
    fs::set_permissions(&volumes, before).unwrap();
}

/// A disk of their own may be mounted there.
#[tokio::test]
async fn among_the_volumes_files_of_nobody_are_removed_and_folders_are_left_alone() {
    let folder = closed().await;
    let volumes = folder.path().join("volumes");
    fs::create_dir_all(volumes.join("lost+found")).unwrap();
    fs::set_permissions(volumes.join("lost+found"), Permissions::from_mode(0o000)).unwrap();
    fs::write(volumes.join("0000000000000001-7"), "cut short").unwrap();
    drop(open_at(folder.path()).unwrap());
    let left = fs::read_dir(&volumes).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["lost+found"]);
}

/// Commands that root ran made files in there that the server could not read at its next start.
#[tokio::test]
async fn the_directory_of_somebody_else_is_refused_to_root_too() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = closed().await;
    std::os::unix::fs::chown(folder.path(), Some(12345), None).unwrap();
    let before = fs::metadata(manifest::path(folder.path())).unwrap().modified().unwrap();
    let error = refused(folder.path());
    assert!(error.contains("belongs to user 12345, and this runs as user 0"), "{error}");
    let after = fs::metadata(manifest::path(folder.path())).unwrap().modified().unwrap();
    assert_eq!(before, after);
    std::os::unix::fs::chown(folder.path(), Some(0), None).unwrap();
    drop(open_at(folder.path()).unwrap());
}
