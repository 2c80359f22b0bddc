//! Lists of addresses and networks: who is trusted with something.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::values::{Wrong, quoted};

/// Addresses and networks, such as those of one's own proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether `address` is one of them; an IPv4 address in IPv6's clothes is that IPv4
    /// address.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<IpNet>> for Networks {
    fn from(all: Vec<IpNet>) -> Self {
        Self(all)
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, network) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            if network.prefix_len() == network.max_prefix_len() {
                write!(f, "{comma}{}", network.addr())?;
            } else {
                write!(f, "{comma}{network}")?;
            }
        }
        Ok(())
    }
}

/// Reads an address or a network. All addresses at once are none: whoever is on such a list
/// is believed what he says of others.
pub(super) fn read(text: &str) -> Result<IpNet, Wrong> {
    let parsed = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network = parsed.map(canonical).map_err(|_| {
        Wrong::new(
            format!("{} is no IP address and no network", quoted(text)),
            "write addresses or networks, such as \"10.0.0.7\" or \"10.0.0.0/24\"",
        )
    })?;
    if network.prefix_len() == 0 {
        return Err(Wrong::new(
            format!("{} is everybody, who could then claim to be anybody", quoted(text)),
            "write the addresses or the network of your own proxies",
        ));
    }
    if network != network.trunc() {
        return Err(Wrong::new(
            format!("{} is an address within a network", quoted(text)),
            format!("write \"{}\" or \"{}\"", network.addr(), network.trunc()),
        ));
    }
    Ok(network)
}

/// Addresses are compared as what they are, so that `::ffff:10.0.0.7` is `10.0.0.7`.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    let IpNet::V6(v6) = network else { return network };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED));
    let v4 = v4.and_then(|(address, prefix): (Ipv4Addr, u8)| Ipv4Net::new(address, prefix).ok());
    v4.map_or(network, IpNet::V4)
}
