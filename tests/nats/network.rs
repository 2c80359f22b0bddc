//! A machine of its own for every server and node: network namespaces, each tied to a hub
//! that passes on what goes between them, and can be told to drop it without a word.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Mutex;

/// Namespaces of one test. Taken away when it is dropped.
#[derive(Debug)]
pub struct Network {
    /// Of the network: the third number of its addresses.
    number: u8,
    machines: usize,
    /// What is dropped between whom.
    cuts: Mutex<Vec<(Ipv4Addr, Ipv4Addr)>>,
}

impl Network {
    /// Makes so many machines.
    ///
    /// # Errors
    /// What cannot be tested here, and why: it takes root and the permission to make network
    /// namespaces, which a container often has not.
    pub fn of(machines: usize) -> Result<Self, String> {
        let tried = Command::new("ip").arg("-V").output();
        assert!(tried.is_ok(), "install iproute2 (scripts/test does it by itself)");
        // Drawn, so that tests that run beside each other have networks of their own.
        for _ in 0..20 {
            let number = fastrand::u8(1..=254);
            let made = ip(&["netns", "add", &format!("im{number}-hub")]);
            match made {
                Ok(()) => {
                    let network = Self { number, machines, cuts: Mutex::default() };
                    network.tie().unwrap();
                    return Ok(network);
                }
                Err(error) if error.contains("File exists") => {}
                Err(error) => {
                    return Err(format!(
                        "nobody checked what a network does that is cut, because no network \
                         namespace can be made here: {error}. Run as root, with the \
                         capabilities SYS_ADMIN and NET_ADMIN."
                    ));
                }
            }
        }
        panic!("all networks are taken: `ip netns list` shows what was left behind");
    }

    /// Ties every machine, and this one, to the hub.
    fn tie(&self) -> Result<(), String> {
        let hub = self.hub();
        self.on("hub", &["link", "set", "lo", "up"])?;
        let forward = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{hub}"))
            .args(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
            .output();
        assert!(forward.is_ok_and(|output| output.status.success()), "the hub does not forward");
        for machine in 0..self.machines {
            let (name, here) = (machine.to_string(), self.address(machine).to_string());
            let there = format!("m{machine}");
            ip(&["netns", "add", &self.name(&name)])?;
            let link = ["link", "add", &there, "type", "veth", "peer", "name", "eth0", "netns"];
            self.on("hub", &[&link[..], &[&self.name(&name)]].concat())?;
            self.on(&name, &["link", "set", "lo", "up"])?;
            self.tie_one(&there, &here, |command| self.on(&name, command), "eth0")?;
        }
        // Tests ask and watch from here.
        let (outside, here) = (format!("im{}", self.number), self.outside().to_string());
        ip(&["link", "add", &outside, "type", "veth", "peer", "name", "out", "netns", &hub])?;
        self.tie_one("out", &here, ip, &outside)
    }

    /// Gives both ends of a link their addresses, and the near one the way to all others.
    fn tie_one(
        &self,
        far: &str,
        near_address: &str,
        near: impl Fn(&[&str]) -> Result<(), String>,
        interface: &str,
    ) -> Result<(), String> {
        let hub = self.numbered(254).to_string();
        let all = format!("{}/24", self.numbered(0));
        self.on("hub", &["addr", "add", &hub, "peer", near_address, "dev", far])?;
        self.on("hub", &["link", "set", far, "up"])?;
        near(&["addr", "add", near_address, "peer", &hub, "dev", interface])?;
        near(&["link", "set", interface, "up"])?;
        near(&["route", "add", &all, "via", &hub])
    }

    /// Where a machine is; this one reaches it, too.
    pub fn address(&self, machine: usize) -> Ipv4Addr {
        self.numbered(u8::try_from(machine + 1).unwrap())
    }

    fn outside(&self) -> Ipv4Addr {
        self.numbered(253)
    }

    /// From the block that is set apart for trials of networks (RFC 2544).
    fn numbered(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.number, last)
    }

    /// The same command, on a machine.
    pub fn on_machine(&self, machine: usize, command: &Command) -> Command {
        // Of the network alone: `ip netns exec` holds on to whatever is mounted now.
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--net=/run/netns/{}", self.name(&machine.to_string())));
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                inside.env(name, value);
            }
        }
        inside
    }

    /// Drops what goes between these machines and those, in both directions.
    pub fn cut(&self, these: &[usize], those: &[usize]) {
        for (one, other) in these.iter().flat_map(|one| those.iter().map(move |it| (*one, *it))) {
            let (one, other) = (self.address(one), self.address(other));
            for (from, to) in [(one, other), (other, one)] {
                self.rule("add", from, to);
                self.cuts.lock().unwrap().push((from, to));
            }
        }
    }

    /// Passes everything on again.
    pub fn heal(&self) {
        for (from, to) in std::mem::take(&mut *self.cuts.lock().unwrap()) {
            self.rule("del", from, to);
        }
    }

    fn rule(&self, verb: &str, from: Ipv4Addr, to: Ipv4Addr) {
        let (from, to) = (from.to_string(), to.to_string());
        self.on("hub", &["rule", verb, "from", &from, "to", &to, "blackhole"]).unwrap();
    }

    fn hub(&self) -> String {
        self.name("hub")
    }

    fn name(&self, machine: &str) -> String {
        format!("im{}-{machine}", self.number)
    }

    /// Runs `ip` on a machine.
    fn on(&self, machine: &str, arguments: &[&str]) -> Result<(), String> {
        ip(&[&["-n", &self.name(machine)], arguments].concat())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Links go with either of their ends.
        for machine in 0..self.machines {
            let _ = ip(&["netns", "del", &self.name(&machine.to_string())]);
        }
        let _ = ip(&["link", "del", &format!("im{}", self.number)]);
        let _ = ip(&["netns", "del", &self.hub()]);
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let words = String::from_utf8_lossy(&output.stderr);
            Err(format!("ip {}: {}", arguments.join(" "), words.trim()))
        }
    }
}
