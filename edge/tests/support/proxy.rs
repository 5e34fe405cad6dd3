//! A TCP proxy between agent and OPC UA server that cuts connections and swallows bytes.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Fault {
    /// Connections of an earlier generation are dead.
    generation: u64,
    /// What the server sends disappears.
    swallow: bool,
    /// New connections are refused.
    refuse: bool,
}

pub struct Proxy {
    address: SocketAddr,
    fault: Arc<watch::Sender<Fault>>,
    serving: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fault = Arc::new(watch::Sender::new(Fault::default()));
        let faults = Arc::clone(&fault);
        let serving = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if faults.borrow().refuse {
                    continue;
                }
                let Ok(server) = TcpStream::connect(server).await else {
                    continue;
                };
                let (client_in, client_out) = client.into_split();
                let (server_in, server_out) = server.into_split();
                tokio::spawn(pass(client_in, server_out, faults.subscribe(), false));
                tokio::spawn(pass(server_in, client_out, faults.subscribe(), true));
            }
        });
        Proxy {
            address,
            fault,
            serving,
        }
    }

    pub fn endpoint(&self) -> String {
        format!("opc.tcp://{}/", self.address)
    }

    /// Cuts every connection; new ones are accepted.
    pub fn cut(&self) {
        self.fault.send_modify(|fault| fault.generation += 1);
    }

    /// Lets what the server sends disappear, or pass again. Both ends believe in their connection.
    pub fn swallow(&self, on: bool) {
        self.fault.send_modify(|fault| fault.swallow = on);
    }

    /// Turns new connections away, or not.
    pub fn refuse(&self, on: bool) {
        self.fault.send_modify(|fault| fault.refuse = on);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut fault: watch::Receiver<Fault>,
    downwards: bool,
) {
    let generation = fault.borrow().generation;
    let mut buffer = vec![0; 65_536];
    loop {
        let count = tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(count) if count > 0 => count,
                _ => return,
            },
            _ = fault.wait_for(|fault| fault.generation != generation) => return,
        };
        if downwards && fault.borrow().swallow {
            continue;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
