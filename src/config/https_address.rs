//! Addresses that are fetched from: https, and nothing in them that would be ignored.

use http::Uri;

use super::values::{Raw, Wrong, quoted};

/// Reads an https address; an empty text is none.
pub(super) fn read(raw: Raw<'_>) -> Result<Option<String>, Wrong> {
    let form = "write https://host/path, such as \"https://id.example.com/jwks.json\", or \"\"";
    let text = raw.text(form)?;
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |what: &str, right: &str| Err(Wrong::new(what, right));
    // What stands before an @ is mostly a password.
    let shown = match text.contains('@') {
        true => "this, which may hold a password,".to_owned(),
        false => quoted(&text),
    };
    if text.contains('#') {
        return wrong("it has a fragment, which is never sent", "leave the # and the rest out");
    }
    let (Ok(uri), false) = (text.parse::<Uri>(), text.len() > LONGEST) else {
        return Err(Wrong::new(format!("{shown} is no address"), form));
    };
    let Some(authority) = uri.authority().filter(|_| uri.scheme().is_some()) else {
        return Err(Wrong::new(format!("{shown} is no whole address"), form));
    };
    if authority.as_str().contains('@') {
        let right = "leave what stands before the @ out; a key set is public";
        return wrong("it has a user's name or password in it", right);
    }
    if uri.scheme_str() != Some("https") {
        let right = "write https://…: whoever changes the keys on their way can be anybody here";
        return Err(Wrong::new(format!("{shown} is not https"), right));
    }
    let after_host = authority.as_str().get(authority.host().len()..).unwrap_or_default();
    let port_fits = after_host.is_empty() || authority.port_u16().is_some_and(|port| port > 0);
    if authority.host().is_empty() || !port_fits {
        return Err(Wrong::new(format!("{shown} has no host, or no valid port"), form));
    }
    Ok(Some(text))
}

/// What is longer is no address that anybody wrote.
const LONGEST: usize = 2000;
