//! Somebody on the way to the NATS servers, who says in their place what they say before TLS begins.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::nats;
use crate::support::{Nodes, within};

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "they end with the test")]
async fn a_node_goes_to_nobody_whom_its_configuration_does_not_name() {
    let place = nats::shared();
    let server = place.urls()[0].trim_start_matches("tls://").to_owned();
    let bind = || TcpListener::bind("127.0.0.1:0");
    let (way, impostor) = (bind().await.unwrap(), bind().await.unwrap());
    let address = format!("tls://{}", way.local_addr().unwrap());
    let named = impostor.local_addr().unwrap();
    let cut = watch::Sender::new(false);
    let (tell, mut tries) = mpsc::channel(8);
    let is_cut = cut.subscribe();
    tokio::spawn(async move {
        loop {
            let (client, _) = way.accept().await.unwrap();
            if *is_cut.borrow() {
                let _ = tell.try_send(());
            } else {
                tokio::spawn(lead(client, server.clone(), named, is_cut.clone()));
            }
        }
    });
    let node = Nodes::on(&place).setup_at(&address).start().await;
    node.connect(1).await.say(2, "hello", "1").await;
    // Its way to the server breaks: it looks for another one.
    cut.send_replace(true);
    let looks = async {
        for _ in 0..5 {
            tries.recv().await.unwrap();
        }
    };
    let looking = async {
        tokio::select! {
            _ = impostor.accept() => panic!("it would tell an impostor its password, without TLS"),
            () = looks => {}
        }
    };
    within("five tries to connect", looking).await;
}

/// Leads a client to the server, and adds to what that says of itself that there is another one.
async fn lead(
    mut client: TcpStream,
    server: String,
    named: SocketAddr,
    mut is_cut: watch::Receiver<bool>,
) {
    let mut server = TcpStream::connect(server).await.unwrap();
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(server.read_u8().await.unwrap());
    }
    let info = line.strip_prefix(b"INFO ").unwrap();
    let mut info: Value = serde_json::from_slice(info).unwrap();
    info["connect_urls"] = json!([named.to_string()]);
    client.write_all(format!("INFO {info}\r\n").as_bytes()).await.unwrap();
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = is_cut.wait_for(|is_cut| *is_cut) => {}
    }
}
