use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt as _;

use super::end::End;
use super::*;

fn log() -> (tempfile::TempDir, Audit) {
    let folder = tempfile::tempdir().unwrap();
    let audit = Audit::open(&folder.path().join("data")).unwrap();
    (folder, audit)
}

fn me() -> Who {
    Who::Admin { user: UserId::new(9).unwrap(), token: Some("t-1".to_owned()) }
}

fn written(audit: &Audit, acts: u64) {
    for number in 0..acts {
        audit.append(&me(), &Act::new("test.act").with("number", number)).unwrap();
    }
}

fn path(audit: &Audit) -> PathBuf {
    audit.place().into()
}

fn bytes(audit: &Audit) -> Vec<u8> {
    fs::read(path(audit)).unwrap()
}

fn replaced(audit: &Audit, bytes: &[u8]) {
    fs::write(path(audit), bytes).unwrap();
}

#[test]
fn what_was_written_down_is_read_back_in_its_order() {
    let (_folder, audit) = log();
    let first = audit.append(&me(), &Act::new("a").with("x\n\"", "y\n\u{0}")).unwrap();
    let second = audit.append(&Who::Shell("ming".to_owned()), &Act::new("b")).unwrap();
    let lines: Vec<Line> = audit.lines().unwrap().map(Result::unwrap).collect();
    assert_eq!(lines, [first.clone(), second.clone()]);
    assert_eq!((first.number, second.number), (1, 2));
    assert_eq!((first.previous, second.previous), (Hash::START, first.hash));
    assert_eq!((first.who.as_str(), second.who.as_str()), ("admin:9", "shell:ming"));
    assert_eq!((first.token.as_deref(), second.token), (Some("t-1"), None));
    assert_eq!(bytes(&audit).iter().filter(|byte| **byte == b'\n').count(), 2);
    assert!(first.at.ends_with('Z') && first.at.len() == "2026-01-01T00:00:00.000Z".len());
}

/// Root made one that the server of the folder could not write to.
#[test]
fn a_log_in_the_folder_of_somebody_else_is_not_made() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let (folder, audit) = log();
    let dir = folder.path().join("data");
    fs::remove_file(path(&audit)).unwrap();
    std::os::unix::fs::chown(&dir, Some(12345), None).unwrap();
    let error = audit.append(&me(), &Act::new("a")).unwrap_err().to_string();
    assert!(error.contains("belongs to user 12345, and this runs as user 0"), "{error}");
    assert!(!path(&audit).exists());
    std::os::unix::fs::chown(&dir, Some(0), None).unwrap();
    audit.append(&me(), &Act::new("a")).unwrap();
    // One that is there stays its owner's, whoever adds to it.
    std::os::unix::fs::chown(&dir, Some(12345), None).unwrap();
    audit.append(&me(), &Act::new("b")).unwrap();
}

#[test]
fn the_log_is_its_owners_alone() {
    let (folder, audit) = log();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("data")), 0o700);
    assert_eq!(mode(&path(&audit)), 0o600);
    fs::set_permissions(path(&audit), fs::Permissions::from_mode(0o640)).unwrap();
    let error = audit.append(&me(), &Act::new("a")).unwrap_err().to_string();
    assert!(error.contains("mode 0640") && error.contains("chmod 600"), "{error}");
    fs::remove_file(path(&audit)).unwrap();
    std::os::unix::fs::symlink("/dev/null", path(&audit)).unwrap();
    assert!(matches!(audit.append(&me(), &Act::new("a")), Err(AuditError::Io { .. })));
}

#[test]
fn every_changed_byte_is_noticed_at_its_line() {
    let (_folder, audit) = log();
    written(&audit, 3);
    let good = bytes(&audit);
    assert_eq!(audit.verify(None).unwrap().fault, None);
    let mut line = 1;
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        replaced(&audit, &bad);
        let Verified { fault, lines, .. } = audit.verify(None).unwrap();
        let (number, _) = fault.unwrap_or_else(|| panic!("byte {at} went unnoticed"));
        assert_eq!((number, lines), (line, line - 1), "byte {at}");
        line += u64::from(good[at] == b'\n');
    }
}

#[test]
fn lines_that_are_left_out_doubled_or_exchanged_are_noticed() {
    let (_folder, audit) = log();
    written(&audit, 3);
    let good = bytes(&audit);
    let lines: Vec<&[u8]> = good.split_inclusive(|byte| *byte == b'\n').collect();
    let [a, b, c] = lines[..] else { panic!("three lines") };
    for (bad, number) in [
        (vec![b, c], 1),
        (vec![a, c], 2),
        (vec![a, a, b, c], 2),
        (vec![b, a, c], 1),
        (vec![a, b"\n", b, c], 2),
        (vec![a, b"{}\n", b, c], 2),
    ] {
        replaced(&audit, &bad.concat());
        assert_eq!(audit.verify(None).unwrap().fault.unwrap().0, number);
    }
}

#[test]
fn an_end_that_was_cut_off_shows_where_a_hash_was_noted_down() {
    let (_folder, audit) = log();
    written(&audit, 3);
    let Verified { newest, .. } = audit.verify(None).unwrap();
    let good = bytes(&audit);
    let two = good.iter().take(good.len() - 1).rposition(|byte| *byte == b'\n').unwrap() + 1;
    assert!(audit.verify(newest).unwrap().has_noted);
    replaced(&audit, &good[..two]);
    let cut = audit.verify(newest).unwrap();
    assert_eq!((cut.lines, cut.fault, cut.has_noted), (2, None, false));
    written(&audit, 5);
    assert!(!audit.verify(newest).unwrap().has_noted);
}

/// Wherever the power cuts a line, what was reported before stays, the rest is kept, and
/// the chain goes on with a line that names it.
#[test]
fn a_line_torn_anywhere_is_kept_aside_and_named() {
    let (folder, audit) = log();
    written(&audit, 2);
    let whole = bytes(&audit);
    let newest = audit.verify(None).unwrap().newest;
    written(&audit, 1);
    let full = bytes(&audit);
    let end = full.len() - 1;
    for at in whole.len() + 1..end {
        replaced(&audit, &full[..at]);
        assert_eq!(audit.verify(newest).unwrap().fault, Some((3, Fault::Torn)), "{at}");
        let line = audit.append(&me(), &Act::new("after")).unwrap();
        assert_eq!(line.number, 4, "{at}");
        let verified = audit.verify(newest).unwrap();
        assert_eq!((verified.lines, verified.torn, &verified.fault), (4, 1, &None), "{at}");
        assert!(verified.has_noted);
        let kept = folder.path().join("data/audit.torn-3");
        assert_eq!(fs::read(&kept).unwrap(), &full[whole.len()..at]);
        fs::write(&kept, "something else").unwrap();
        assert_eq!(audit.verify(None).unwrap().fault, Some((3, Fault::Aside)));
        fs::remove_file(&kept).unwrap();
    }
    // All but the sign that ends it: the line is there.
    replaced(&audit, &full[..end]);
    assert_eq!(audit.append(&me(), &Act::new("after")).unwrap().number, 4);
    let verified = audit.verify(None).unwrap();
    assert_eq!((verified.lines, verified.torn, verified.fault), (4, 0, None));
}

#[test]
fn a_line_whose_beginning_the_disk_lost_is_torn_too() {
    let (folder, audit) = log();
    written(&audit, 2);
    let mut bad = bytes(&audit);
    let end = bad.len() - 40;
    bad[end - 30..end].fill(0);
    replaced(&audit, &bad);
    assert_eq!(audit.verify(None).unwrap().fault, Some((2, Fault::Torn)));
    assert_eq!(audit.append(&me(), &Act::new("after")).unwrap().number, 3);
    let verified = audit.verify(None).unwrap();
    assert_eq!((verified.lines, verified.torn, verified.fault), (3, 1, None));
    assert!(folder.path().join("data/audit.torn-2").exists());
}

#[test]
fn a_power_cut_between_the_keeping_and_the_naming_loses_neither() {
    let (_folder, audit) = log();
    written(&audit, 2);
    let whole = bytes(&audit);
    let mut torn = whole.clone();
    torn.extend(b"{\"n\":3,\"at\"");
    replaced(&audit, &torn);
    let mut file = OpenOptions::new().read(true).append(true).open(path(&audit)).unwrap();
    let end = End::find(&mut file).unwrap().unwrap();
    end.set_torn_aside(path(&audit).parent().unwrap(), &mut file).unwrap();
    assert_eq!(bytes(&audit), whole);
    assert_eq!(audit.append(&me(), &Act::new("after")).unwrap().number, 4);
    let verified = audit.verify(None).unwrap();
    assert_eq!((verified.lines, verified.torn, verified.fault), (4, 1, None));
}

#[test]
fn a_changed_last_line_is_not_written_on() {
    let (_folder, audit) = log();
    written(&audit, 2);
    let mut bad = bytes(&audit);
    let at = bad.len() - 100;
    bad[at] ^= 1;
    replaced(&audit, &bad);
    let error = audit.append(&me(), &Act::new("after")).unwrap_err().to_string();
    assert!(error.contains("broken in its last line"), "{error}");
    assert_eq!(bytes(&audit), bad);
}

#[test]
fn what_no_line_has_room_for_is_refused_whole() {
    let (_folder, audit) = log();
    written(&audit, 1);
    let long = Act::new("a").with("text", "x".repeat(LINE_MAX));
    assert!(matches!(audit.append(&me(), &long), Err(AuditError::TooLong)));
    written(&audit, 1);
    assert_eq!(audit.verify(None).unwrap().lines, 2);
}

#[test]
fn many_who_write_at_once_make_one_chain() {
    let (_folder, audit) = log();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| written(&audit, 10));
        }
    });
    let verified = audit.verify(None).unwrap();
    assert_eq!((verified.lines, verified.fault), (40, None));
}

#[test]
fn a_hash_is_64_hexadecimal_digits() {
    let hash = Hash::of(b"x");
    assert_eq!(hash.to_string().parse(), Ok(hash));
    for bad in ["", "0", &"0".repeat(63), &"g".repeat(64), &"+1".repeat(32), &"é".repeat(32)] {
        assert_eq!(bad.parse::<Hash>(), Err(NoHash), "{bad}");
    }
}
