//! How long nobody is served where the leader is gone without a word: to be measured by hand
//! (`docs/cluster.md`, *When something fails*).

use std::time::{Duration, Instant};

use super::faults::{Rig, SOME};

/// How long each sender rests behind a packet: the load is light.
const REST: Duration = Duration::from_millis(50);

/// How long it is away that the table of `docs/cluster.md` counts.
const LONG: [u64; 3] = [6, 9, 10];

fn number(name: &str, usually: usize) -> usize {
    std::env::var(name).map_or(usually, |text| text.parse().unwrap())
}

/// Strikes the leader again and again and prints for how long nobody was served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for a quarter of an hour: IMSERVER_OUTAGE_ROUNDS, IMSERVER_OUTAGE_SERVERS"]
async fn how_long_a_leader_is_missed() {
    let rounds = number("IMSERVER_OUTAGE_ROUNDS", 20);
    let servers = number("IMSERVER_OUTAGE_SERVERS", 3);
    let mut rig = Rig::light(servers, REST).await;
    for (how, signal) in [("killed", None), ("stopped (SIGSTOP)", Some("STOP"))] {
        let mut gaps = Vec::new();
        for _ in 0..rounds {
            let (leader, _) = rig.leader_and_follower();
            let stream = rig.streams().remove(0);
            let (term, since) = (rig.cluster.term(&stream), Instant::now());
            match signal {
                None => rig.cluster.kill(leader),
                Some(signal) => rig.cluster.signal(leader, signal),
            }
            rig.load.goes_on(2).await;
            let gap = rig.load.longest_gap(since);
            let votes = rig.cluster.term(&stream).saturating_sub(term);
            eprintln!("{how}: {gap:?}, {votes} votes");
            gaps.push(gap);
            match signal {
                None => rig.cluster.run(leader),
                Some(_) => rig.cluster.signal(leader, "CONT"),
            }
            rig.cluster.wait();
            rig.load.goes_on(SOME).await;
        }
        print(&format!("{servers} servers, leader {how}"), gaps);
    }
    rig.settle().await;
}

fn print(what: &str, mut gaps: Vec<Duration>) {
    gaps.sort_unstable();
    let seconds = |gap: Duration| format!("{:.2}", gap.as_secs_f64());
    let at = |percent: usize| seconds(gaps[(gaps.len() * percent).div_ceil(100) - 1]);
    let above = LONG.map(|limit| {
        let count = gaps.iter().filter(|gap| **gap > Duration::from_secs(limit)).count();
        format!("{count} above {limit} s")
    });
    eprintln!(
        "{what}, {} times: {}",
        gaps.len(),
        gaps.iter().map(|gap| seconds(*gap)).collect::<Vec<_>>().join(" ")
    );
    eprintln!("    median {} s, p90 {} s, max {} s; {}", at(50), at(90), at(100), above.join(", "));
}
