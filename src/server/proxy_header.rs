//! The PROXY protocol: how a proxy that passes TCP on says for whom it connects, in front of
//! the first byte (HAProxy's `proxy-protocol.txt` of 2020/03/05, versions 1 and 2).
//!
//! Not a byte of what follows the header is read: TLS begins there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest header that is read: what every host takes in one segment of TCP (section 2).
pub(super) const LONGEST: usize = 536;

/// How a header of version 1 begins, up to and with its first space.
const V1: &[u8] = b"PROXY ";

/// The shortest line of version 1, `PROXY UNKNOWN` with its end.
const V1_SHORTEST: usize = 15;

/// The longest: `PROXY UNKNOWN` with two addresses of IPv6 and two ports behind it.
const V1_LONGEST: usize = 107;

/// How a header of version 2 begins.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What stands in front of the addresses of version 2: those bytes, command, family, length.
const V2_HEAD: usize = 16;

/// Why a connection cannot go on that must begin with a header.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// Some balancers look in this way whether somebody listens.
    #[error("it closed without a word")]
    Silent,
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("it began with TLS, and not with a PROXY header: switch the protocol on in the proxy")]
    Tls,
    #[error("it did not begin with a PROXY header: switch the protocol on in the proxy")]
    Other,
    #[error("no whole PROXY header came within limits.handshake_timeout")]
    Late,
    #[error("it closed in the middle of its PROXY header")]
    CutShort,
    #[error("its PROXY header has more than {LONGEST} bytes")]
    TooLong,
    #[error("its PROXY header is malformed: {0}")]
    Malformed(&'static str),
    #[error("it began with a PROXY header, and is not in server.proxy_protocol")]
    Uninvited,
}

impl Fault {
    /// The label of the metric; none where nothing was refused.
    pub(super) fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Silent | Self::Broken(_) => None,
            Self::Tls | Self::Other | Self::Late => Some("proxy_header_missing"),
            Self::CutShort | Self::TooLong | Self::Malformed(_) => Some("proxy_header_bad"),
            Self::Uninvited => Some("proxy_header_uninvited"),
        }
    }
}

/// What a header says: the client, or none where the connection is the proxy's own (a look at
/// our health) or it does not know for whom it connects. The peer's address counts then.
pub(super) type Said = Option<SocketAddr>;

/// Reads a header, and nothing behind it.
///
/// # Errors
/// The stream does not begin with one that is whole and valid. Close it.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Said, Fault> {
    let mut buffer = [0; LONGEST];
    let mut have = 0;
    loop {
        match look(buffer.get(..have).unwrap_or_default())? {
            Look::Whole(said) => return Ok(said),
            Look::More(wanted) => {
                let room = buffer.get_mut(have..have + wanted).ok_or(Fault::TooLong)?;
                match stream.read(room).await? {
                    0 if have == 0 => return Err(Fault::Silent),
                    0 => return Err(Fault::CutShort),
                    got => have += got,
                }
            }
        }
    }
}

/// Whether a stream that starts so begins with a header. Six bytes tell.
pub(super) fn begins(bytes: [u8; 6]) -> bool {
    V1.starts_with(&bytes) || V2.starts_with(&bytes)
}

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// A whole header.
    Whole(Said),
    /// The beginning of one, which has at least so many bytes more.
    More(usize),
}

/// Looks at the bytes so far. What cannot become a header is refused at its first byte.
fn look(bytes: &[u8]) -> Result<Look, Fault> {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(byte, expected)| byte == expected);
    match bytes.first() {
        None => Ok(Look::More(V2.len())),
        Some(_) if begins(V1) => look_v1(bytes),
        Some(_) if begins(V2) => look_v2(bytes),
        // A record of a handshake.
        Some(0x16) => Err(Fault::Tls),
        Some(_) => Err(Fault::Other),
    }
}

fn look_v1(bytes: &[u8]) -> Result<Look, Fault> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let is_last = end + 1 == bytes.len();
            let line = bytes.strip_suffix(b"\r\n").filter(|_| is_last);
            let line = line.and_then(|line| line.strip_prefix(V1));
            line_v1(line.ok_or(Fault::Malformed("a line feed too soon, or without CR"))?)
        }
        None if bytes.len() >= V1_LONGEST => Err(Fault::Malformed("the line does not end")),
        None if bytes.len() < V1_SHORTEST => Ok(Look::More(V1_SHORTEST - bytes.len())),
        None if bytes.ends_with(b"\r") => Ok(Look::More(1)),
        // CR and LF.
        None => Ok(Look::More((V1_LONGEST - bytes.len()).min(2))),
    }
}

/// Reads the line between `PROXY ` and its end.
fn line_v1(line: &[u8]) -> Result<Look, Fault> {
    let line = match line {
        // The rest is to be ignored, whatever it is.
        b"UNKNOWN" => return Ok(Look::Whole(None)),
        line if line.starts_with(b"UNKNOWN ") => return Ok(Look::Whole(None)),
        line => str::from_utf8(line).map_err(|_| Fault::Malformed("not ASCII"))?,
    };
    let fields: Vec<&str> = line.split(' ').collect();
    let [family, source, target, source_port, target_port] = *fields else {
        return Err(Fault::Malformed("not a family, two addresses and two ports"));
    };
    let source = match family {
        "TCP4" => both::<Ipv4Addr>(source, target),
        "TCP6" => both::<Ipv6Addr>(source, target),
        _ => return Err(Fault::Malformed("neither TCP4 nor TCP6 nor UNKNOWN")),
    };
    let source = source.ok_or(Fault::Malformed("an address is none of its family"))?;
    let ports = port(source_port).zip(port(target_port));
    let (port, _) = ports.ok_or(Fault::Malformed("a port is no number from 0 to 65535"))?;
    Ok(Look::Whole(Some(SocketAddr::new(source.to_canonical(), port))))
}

/// The first address, if both are of the family.
fn both<A: FromStr + Into<IpAddr>>(source: &str, target: &str) -> Option<IpAddr> {
    let (source, _) = (source.parse::<A>().ok()?, target.parse::<A>().ok()?);
    Some(source.into())
}

/// A port in digits, without zeros before it.
fn port(text: &str) -> Option<u16> {
    let plain = text.starts_with(|first: char| first.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

fn look_v2(bytes: &[u8]) -> Result<Look, Fault> {
    let Some((head, rest)) = bytes.split_first_chunk::<V2_HEAD>() else {
        return Ok(Look::More(V2_HEAD - bytes.len()));
    };
    let [.., command, family, high, low] = *head;
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Fault::Malformed("not version 2, or an unknown command")),
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if V2_HEAD + length > LONGEST {
        return Err(Fault::TooLong);
    }
    if rest.len() < length {
        return Ok(Look::More(length - rest.len()));
    }
    // The proxy's own, whatever else stands there.
    if is_local {
        return Ok(Look::Whole(None));
    }
    source_v2(family, rest).map(Look::Whole)
}

/// Reads the client's address. What stands behind the addresses (TLVs) is nothing to us.
fn source_v2(family: u8, rest: &[u8]) -> Result<Said, Fault> {
    let short = Fault::Malformed("too short for its addresses");
    match family {
        // TCP over IPv4: two addresses, two ports.
        0x11 => match rest.first_chunk::<12>() {
            Some([a, b, c, d, _, _, _, _, high, low, _, _]) => {
                let address = Ipv4Addr::new(*a, *b, *c, *d);
                Ok(Some(SocketAddr::new(address.into(), u16::from_be_bytes([*high, *low]))))
            }
            None => Err(short),
        },
        // TCP over IPv6.
        0x21 => match (rest.first_chunk::<16>(), rest.get(32..36)) {
            (Some(address), Some([high, low, _, _])) => {
                let address = IpAddr::from(*address).to_canonical();
                Ok(Some(SocketAddr::new(address, u16::from_be_bytes([*high, *low]))))
            }
            _ => Err(short),
        },
        // Unknown or no TCP over IP: it does not say for whom.
        _ if family >> 4 <= 3 && family & 0xf <= 2 => Ok(None),
        _ => Err(Fault::Malformed("an unknown family of addresses")),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    /// What is read of `bytes`, and how many of them.
    fn reading(bytes: &[u8]) -> (Result<Said, Fault>, usize) {
        let mut rest = bytes;
        let said = read(&mut rest).now_or_never().expect("nothing to wait for");
        (said, bytes.len() - rest.len())
    }

    /// The address and the length of the header, or what is wrong with it.
    fn outcome(bytes: &[u8]) -> String {
        match reading(bytes) {
            (Ok(Some(client)), length) => format!("{client} {length}"),
            (Ok(None), length) => format!("own {length}"),
            (Err(fault), _) => fault.to_string(),
        }
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &length, rest].concat()
    }

    #[test]
    fn lines_of_version_1_are_read_to_the_letter() {
        let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                       ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        let any = format!("PROXY UNKNOWN {}\r\n", "\u{7f}".repeat(107 - 16));
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n", "192.0.2.7:56324 41"),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 0 1\r\n", "1.1.1.1:0 32"),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 1 443\r\n", "[2001:db8::7]:1 42"),
            ("PROXY TCP6 ::FFFF:192.0.2.7 ::1 1 443\r\n", "192.0.2.7:1 39"),
            (longest, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 104"),
            ("PROXY UNKNOWN\r\n", "own 15"),
            ("PROXY UNKNOWN TCP4 a b c\r\n", "own 26"),
            (&any, "own 107"),
        ] {
            assert_eq!(outcome(line.as_bytes()), expected, "{line:?}");
            // What follows is TLS's.
            let followed = [line.as_bytes(), b"\x16\x03\x01\n"].concat();
            assert_eq!(outcome(&followed), expected, "{line:?} and more");
        }
        let endless = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 15));
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\n", "a line feed too soon"),
            ("PROXY UNKNOWN x\ny\r\n", "a line feed too soon"),
            ("PROXY TCP4 \r\nxx", "a line feed too soon"),
            ("PROXY  TCP4 192.0.2.7 10.0.0.1 1 2\r\n", "not a family"),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n", "not a family"),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 1 2 \r\n", "not a family"),
            ("PROXY tcp4 192.0.2.7 10.0.0.1 1 2\r\n", "neither TCP4 nor TCP6"),
            ("PROXY TCP5 192.0.2.7 10.0.0.1 1 2\r\n", "neither TCP4 nor TCP6"),
            ("PROXY TCP4 2001:db8::7 ::1 1 443\r\n", "an address is none of its family"),
            ("PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n", "an address is none of its family"),
            ("PROXY TCP4 192.0.2.07 10.0.0.1 1 2\r\n", "an address is none of its family"),
            ("PROXY TCP4 192.0.2.7 10.0.0 1 2\r\n", "an address is none of its family"),
            ("PROXY TCP6 fe80::1%1 ::1 1 443\r\n", "an address is none of its family"),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 65536 2\r\n", "a port is no number"),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 1 02\r\n", "a port is no number"),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 +1 2\r\n", "a port is no number"),
            (&endless, "the line does not end"),
            ("PROXY TCP4 192.0.2.7 10.0", "it closed in the middle of its PROXY header"),
            ("", "it closed without a word"),
            ("PROXX TCP4 192.0.2.7 10.0.0.1 1 2\r\n", "it did not begin with a PROXY header"),
            ("GET / HTTP/1.1\r\n", "it did not begin with a PROXY header"),
            ("\x16\x03\x01\x02\0\x01", "it began with TLS"),
        ] {
            let found = outcome(line.as_bytes());
            assert!(found.contains(expected), "{line:?}: {found}");
        }
    }

    #[test]
    fn headers_of_version_2_are_read_to_the_byte() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 4, 1, 0xbb];
        let v6 = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[7], &[0; 15], &[1], &[0, 1, 1, 0xbb]];
        let v6 = v6.concat();
        let with_tlv = [&v4[..], &[4, 0, 2, 7, 7]].concat();
        let full = [&v4[..], &[0; LONGEST - V2_HEAD - 12]].concat();
        for (header, expected) in [
            (v2(0x21, 0x11, &v4), "192.0.2.7:56324 28"),
            (v2(0x21, 0x11, &with_tlv), "192.0.2.7:56324 33"),
            (v2(0x21, 0x11, &full), "192.0.2.7:56324 536"),
            (v2(0x21, 0x21, &v6), "[2001:db8::7]:1 52"),
            (v2(0x20, 0x00, &[]), "own 16"),
            (v2(0x20, 0x11, &v4), "own 28"),
            (v2(0x20, 0xff, &[1]), "own 17"),
            (v2(0x21, 0x00, &[]), "own 16"),
            (v2(0x21, 0x12, &v4), "own 28"),
            (v2(0x21, 0x31, &[7; 216]), "own 232"),
        ] {
            assert_eq!(outcome(&header), expected, "{header:?}");
            let followed = [&header[..], b"\x16\x03\x01"].concat();
            assert_eq!(outcome(&followed), expected, "{header:?} and more");
        }
        for (header, expected) in [
            (v2(0x11, 0x11, &v4), "not version 2"),
            (v2(0x22, 0x11, &v4), "not version 2, or an unknown command"),
            (v2(0x21, 0x41, &v4), "an unknown family"),
            (v2(0x21, 0x13, &v4), "an unknown family"),
            (v2(0x21, 0x11, &v4[..11]), "too short for its addresses"),
            (v2(0x21, 0x21, &v6[..35]), "too short for its addresses"),
            (v2(0x20, 0x00, &[0; LONGEST - V2_HEAD + 1]), "more than 536 bytes"),
            (v2(0x21, 0x11, &[0; 0xffff]), "more than 536 bytes"),
            (v2(0x21, 0x11, &v4)[..27].to_vec(), "closed in the middle"),
            (V2[..5].to_vec(), "closed in the middle"),
            (b"\r\n\r\n\0\r\nQUIX".to_vec(), "did not begin with a PROXY header"),
        ] {
            let found = outcome(&header);
            assert!(found.contains(expected), "{header:?}: {found}");
        }
    }

    #[test]
    fn six_bytes_tell_a_header() {
        assert!(begins(*b"PROXY ") && begins(*b"\r\n\r\n\0\r"));
        assert!(!begins(*b"\x16\x03\x01\x02\0\x01") && !begins(*b"POST /") && !begins([0; 6]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(client: SocketAddr, target: IpAddr, after: Vec<u8>) {
            let target = SocketAddr::new(target, 443);
            let (ip, port) = (client.ip(), client.port());
            let canonical = SocketAddr::new(ip.to_canonical(), port);
            let (header, line) = match (ip, target.ip()) {
                (IpAddr::V4(a), IpAddr::V4(b)) => (
                    v2(0x21, 0x11, &[&a.octets()[..], &b.octets(), &port.to_be_bytes(), &[1, 2]].concat()),
                    format!("PROXY TCP4 {a} {b} {port} 443\r\n"),
                ),
                (IpAddr::V6(a), IpAddr::V6(b)) => (
                    v2(0x21, 0x21, &[&a.octets()[..], &b.octets(), &port.to_be_bytes(), &[1, 2]].concat()),
                    format!("PROXY TCP6 {a} {b} {port} 443\r\n"),
                ),
                _ => return Ok(()),
            };
            for header in [header, line.into_bytes()] {
                let (said, length) = reading(&[&header[..], &after].concat());
                prop_assert_eq!((said.unwrap(), length), (Some(canonical), header.len()));
                for cut in 1..header.len() {
                    prop_assert!(matches!(reading(&header[..cut]), (Err(Fault::CutShort), _)));
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic_or_read_on(
            start in 0..4_usize, bytes in prop::collection::vec(any::<u8>(), 0..700),
        ) {
            let start = [&b""[..], V1, V2, b"PROXY TCP6 ::1 "][start];
            let (_, length) = reading(&[start, &bytes].concat());
            prop_assert!(length <= LONGEST);
        }
    }
}
