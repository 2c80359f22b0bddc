//! PROXY headers, in front of the first byte of a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use imserver::server::fuzzing::proxy_header;

/// How version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads a header; one that is believed ends where it says, means the same whatever follows,
/// and says what another reader finds in it.
pub fn check(data: &[u8]) {
    let Some((said, length)) = proxy_header(data) else { return };
    assert!(length <= 536, "{length} bytes");
    let (header, _) = data.split_at(length);
    for followed in [&b""[..], b"\x16\x03\x01", b"\r\n", b"PROXY UNKNOWN\r\n"] {
        let stream = [header, followed].concat();
        assert_eq!(proxy_header(&stream), Some((said, length)));
    }
    for cut in 0..length {
        let (less, _) = header.split_at(cut);
        assert_eq!(proxy_header(less), None, "{cut} bytes of {length}");
    }
    assert_eq!(said, again(header));
}

/// What a whole header says, read from its end backwards and by position.
fn again(header: &[u8]) -> Option<SocketAddr> {
    let canonical = |ip: IpAddr, port| SocketAddr::new(ip.to_canonical(), port);
    let Some(block) = header.strip_prefix(SIGNATURE) else {
        let line = String::from_utf8_lossy(header);
        let line = line.strip_suffix("\r\n").map(|line| line.strip_prefix("PROXY "));
        let line = line.flatten().unwrap_or_else(|| panic!("neither version: {header:?}"));
        assert!(!line.contains('\n') && header.len() <= 107);
        if line.split(' ').next() == Some("UNKNOWN") {
            return None;
        }
        let mut fields = line.rsplit(' ');
        let (_target_port, port) = (fields.next(), fields.next());
        let (target, source) = (fields.next(), fields.next());
        assert_eq!(fields.next().map(str::len), Some(4));
        let source: Option<IpAddr> = source.and_then(|text| text.parse().ok());
        let target: Option<IpAddr> = target.and_then(|text| text.parse().ok());
        let port: Option<u16> = port.and_then(|text| text.parse().ok());
        let (Some(source), Some(target), Some(port)) = (source, target, port) else {
            panic!("not addresses: {line}");
        };
        assert_eq!(source.is_ipv4(), target.is_ipv4());
        assert!(line.starts_with(if source.is_ipv4() { "TCP4 " } else { "TCP6 " }));
        return Some(canonical(source, port));
    };
    let byte = |at: usize| block.get(at).copied().unwrap_or_else(|| panic!("no byte {at}"));
    assert_eq!(block.len(), 4 + usize::from(byte(2)) * 256 + usize::from(byte(3)));
    let number = |from: usize, count: usize| {
        (from..from + count).fold(0_u128, |number, at| number << 8 | u128::from(byte(at)))
    };
    let port = |at| u16::try_from(number(at, 2)).unwrap_or_default();
    match (byte(0), byte(1)) {
        (0x21, 0x11) => {
            let ip = Ipv4Addr::from_bits(u32::try_from(number(4, 4)).unwrap_or_default());
            Some(canonical(ip.into(), port(12)))
        }
        (0x21, 0x21) => Some(canonical(Ipv6Addr::from_bits(number(4, 16)).into(), port(36))),
        (0x20 | 0x21, _) => None,
        other => panic!("an unknown command: {other:?}"),
    }
}
