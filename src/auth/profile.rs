//! What a token may say of its user beyond the id: a name and a picture
//! (OpenID Connect Core, section 5.1).
//!
//! Both reach other people's screens, so what could run there is refused.

/// How long a name may be, in bytes.
pub(super) const NAME_MAX: usize = 128;

/// How long the address of a picture may be, in bytes.
pub(super) const PICTURE_MAX: usize = 2048;

/// What is wrong with a name or a picture's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentences say it all")]
pub enum ProfileFault {
    #[error("the name is over {NAME_MAX} bytes; shorten it")]
    LongName,
    #[error("the name holds a line break or another control character; leave it out")]
    ControlInName,
    #[error("the picture's address is over {PICTURE_MAX} bytes; shorten it")]
    LongPicture,
    #[error("the picture's address holds a blank or a control character; percent-encode it")]
    BlankInPicture,
    #[error(
        "the picture's address has another scheme than https; give an https:// address, or one \
         without a scheme such as www.example.com/a.png"
    )]
    PictureScheme,
}

/// Checks a name from anywhere.
///
/// # Errors
/// No token may bring it, and nothing else.
pub fn check_name(name: &str) -> Result<(), ProfileFault> {
    if name.len() > NAME_MAX { Err(ProfileFault::LongName) } else { Ok(()) }
}

/// Checks a name that we are about to put into a token.
///
/// An identity provider's names are taken as they are, because nobody could
/// connect whose name has an odd character in it; ours need not be odd.
pub(super) fn check_own_name(name: &str) -> Result<(), ProfileFault> {
    check_name(name)?;
    if name.chars().any(char::is_control) { Err(ProfileFault::ControlInName) } else { Ok(()) }
}

/// Checks the address of a picture.
///
/// # Errors
/// No token may bring it, and nothing else.
pub fn check_picture(picture: &str) -> Result<(), ProfileFault> {
    if picture.len() > PICTURE_MAX {
        return Err(ProfileFault::LongPicture);
    }
    // Browsers skip some of these before and inside a scheme.
    if picture.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(ProfileFault::BlankInPicture);
    }
    match picture.split_once(':') {
        Some((before, after)) if !before.contains(['/', '?', '#']) => {
            if is_https(before, after) || is_port(before, after) {
                Ok(())
            } else {
                Err(ProfileFault::PictureScheme)
            }
        }
        _ => Ok(()),
    }
}

fn is_https(before: &str, after: &str) -> bool {
    let host = after.strip_prefix("//").unwrap_or_default();
    before.eq_ignore_ascii_case("https") && !host.is_empty() && !host.starts_with(['/', '?', '#'])
}

/// Whether the colon stands between a host and its port, as in
/// `www.example.com:8443/a.png`. No scheme that does anything has a dot.
fn is_port(before: &str, after: &str) -> bool {
    let port = after.split(['/', '?', '#']).next().unwrap_or_default();
    before.contains('.') && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_https_or_has_no_scheme() {
        for good in [
            "",
            "www.example.com/a.png",
            "www.example.com:8443/a.png",
            "//cdn.example.com/a.png",
            "/avatars/7.png",
            "avatars/7.png?at=12:30",
            "https://example.com/a.png",
            "HTTPS://example.com:8443/a.png?x=y:z#f",
            "https://例え.jp/図.png",
        ] {
            assert_eq!(check_picture(good), Ok(()), "{good:?}");
        }
        for bad in [
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "javascript:8443/alert(1)",
            "data:image/svg+xml,<svg/>",
            "blob:https://example.com/1",
            "vbscript:x",
            "http://example.com/a.png",
            "ftp.example.com:/x",
            "https:",
            "https:/x",
            "https:///x",
            r"https:\\example.com",
            "file:///etc/passwd",
            ":x",
        ] {
            assert_eq!(check_picture(bad), Err(ProfileFault::PictureScheme), "{bad:?}");
        }
        for bad in [" javascript:alert(1)", "java\tscript:alert(1)", "java\nscript:x", "a\u{0}b"] {
            assert_eq!(check_picture(bad), Err(ProfileFault::BlankInPicture), "{bad:?}");
        }
    }

    #[test]
    fn lengths_are_counted_in_bytes() {
        assert_eq!(check_name(&"é".repeat(64)), Ok(()));
        assert_eq!(check_name(&"é".repeat(65)), Err(ProfileFault::LongName));
        assert_eq!(check_picture(&"a".repeat(2048)), Ok(()));
        assert_eq!(check_picture(&"a".repeat(2049)), Err(ProfileFault::LongPicture));
        assert_eq!(check_own_name("a\nb"), Err(ProfileFault::ControlInName));
    }
}
