//! Under a service manager: sockets that it passes, and what it is told.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;

use tokio::net::{TcpStream, UnixDatagram as Inbox};

use crate::support::{Forge, Setup, Upgrade, admin, exchange, tls_over, within};

fn listener(address: &str) -> TcpListener {
    TcpListener::bind(address).unwrap()
}

#[tokio::test]
async fn clients_that_knock_before_the_server_is_there_are_served() {
    let sockets = ["127.0.0.1:0"; 2].map(listener);
    let [public, door] = [&sockets[0], &sockets[1]];
    let address = public.local_addr().unwrap();
    let early = TcpStream::connect(address).await.unwrap();

    // By their names, not by their order.
    let setup = Setup::new();
    let server = setup.start_with_sockets([door, public], "admin:public", &[]).await;
    assert_eq!((server.address, server.admin), (address, door.local_addr().unwrap()));
    let mut early = tls_over(early, server.roots()).await;
    let good = Upgrade::token(&Forge::token(7)).bytes();
    assert_eq!(exchange(&mut early, &good).await.status, 101);
    assert_eq!(admin(&server, "/readyz").await.status, 200);
    server.connect(1).await.say(2, "还在吗", "1").await;

    // Nobody is turned away while it is exchanged for another one.
    let setup = server.stop().await;
    let between = TcpStream::connect(address).await.unwrap();
    let server = setup.start_with_sockets([public, door], "public:admin", &[]).await;
    let mut between = tls_over(between, server.roots()).await;
    assert_eq!(exchange(&mut between, &good).await.status, 101);
    assert_eq!(server.connect(2).await.message().await.1, "还在吗");
}

#[tokio::test]
async fn the_service_manager_is_told_when_clients_can_connect_and_when_it_ends() {
    let setup = Setup::new();
    let path = setup.path("notify");
    let inbox = Inbox::from_std({
        let inbox = UnixDatagram::bind(&path).unwrap();
        inbox.set_nonblocking(true).unwrap();
        inbox
    })
    .unwrap();
    let setup = setup.env("NOTIFY_SOCKET", path.to_str().unwrap()).env("WATCHDOG_USEC", "200000");
    let mut server = setup.start().await;
    let until = async |wanted: &str| {
        let mut buffer = [0; 1024];
        loop {
            let length = inbox.recv(&mut buffer).await.unwrap();
            let said = String::from_utf8_lossy(&buffer[..length]);
            if said.lines().any(|line| line == wanted) {
                return said.into_owned();
            }
        }
    };
    let ready = within("word that it is ready", until("READY=1")).await;
    assert!(ready.contains(&format!("STATUS=serving on {}", server.address)), "{ready}");
    server.connect(1).await.say(1, "it is", "1").await;
    for _ in 0..3 {
        within("a sign of life", until("WATCHDOG=1")).await;
    }
    server.signal("TERM");
    within("word that it ends", until("STOPPING=1")).await;
    assert_eq!(server.ended().await.code(), Some(0));
    let mut buffer = [0; 1024];
    while let Ok(length) = inbox.try_recv(&mut buffer) {
        assert!(!buffer[..length].starts_with(b"READY"));
    }
}

#[tokio::test]
async fn a_silent_service_manager_is_no_reason_not_to_serve() {
    let setup = Setup::new().env("NOTIFY_SOCKET", "/nowhere/notify");
    let server = setup.start().await;
    server.logged("the service manager does not hear").await;
    server.connect(1).await.say(1, "anyway", "1").await;
}

#[test]
fn sockets_that_cannot_be_meant_are_refused() {
    let two = ["127.0.0.1:0"; 2].map(listener);
    let open = ["0.0.0.0:0", "127.0.0.1:0"].map(listener);
    let plain = || Setup::new().set("tls.mode", "\"off\"");
    for (setup, sockets, names, said) in [
        (Setup::new(), &two, "public:metrics", "named \"metrics\""),
        (Setup::new(), &two, "", "FileDescriptorName=public"),
        (Setup::new(), &two, "admin:admin", "two sockets named \"admin\""),
        (plain(), &open, "public:admin", "server.listen; give it a loopback address"),
        (plain(), &open, "admin:public", "server.admin_listen; give it a loopback address"),
    ] {
        let sockets = [&sockets[0], &sockets[1]];
        let output = setup.command_with_sockets(sockets, names).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{names}: {errors}");
        assert!(errors.contains(said), "{names}: {errors}");
    }
    // They are still there for the next try.
    assert_eq!(
        two[0].set_nonblocking(true).and_then(|()| two[0].accept().map(drop)).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}
