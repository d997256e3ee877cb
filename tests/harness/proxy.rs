//! A TCP proxy whose connections can die without a word: bytes vanish in both directions, and nobody is told (no FIN, no RST).

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

#[derive(Default)]
struct State {
    /// Connections made so far.
    made: AtomicU64,
    /// Connections up to this one are dead.
    dead: AtomicU64,
    /// New connections are dead from the start.
    closed: AtomicBool,
}

/// Forwards connections to a port of this machine.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// Listens on a port of its own.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let state = Arc::new(State::default());
        let shared = state.clone();
        // Both end with the test process.
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let number = shared.made.fetch_add(1, Ordering::SeqCst) + 1;
                let state = shared.clone();
                thread::spawn(move || serve(connection, port, number, state));
            }
        });
        Proxy { port: own, state }
    }

    /// From now on nothing passes: connections that are open die, new ones are dead when they are made.
    pub fn black_hole(&self) {
        self.state.closed.store(true, Ordering::SeqCst);
        let made = self.state.made.load(Ordering::SeqCst);
        self.state.dead.fetch_max(made, Ordering::SeqCst);
    }

    /// New connections pass again; the dead stay dead.
    pub fn let_new_ones_in(&self) {
        let made = self.state.made.load(Ordering::SeqCst);
        self.state.dead.fetch_max(made, Ordering::SeqCst);
        self.state.closed.store(false, Ordering::SeqCst);
    }
}

fn serve(from: TcpStream, port: u16, number: u64, state: Arc<State>) {
    if state.closed.load(Ordering::SeqCst) {
        state.dead.fetch_max(number, Ordering::SeqCst);
        stay_silent();
    }
    let Ok(to) = TcpStream::connect(("127.0.0.1", port)) else {
        return;
    };
    let (Ok(back), Ok(forth)) = (to.try_clone(), from.try_clone()) else {
        return;
    };
    let other = state.clone();
    thread::spawn(move || copy(back, forth, number, &other));
    copy(from, to, number, &state);
}

fn copy(mut from: TcpStream, mut to: TcpStream, number: u64, state: &State) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        if number <= state.dead.load(Ordering::SeqCst) {
            // The sockets stay open, so that nobody hears of it.
            stay_silent();
        }
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
    }
}

fn stay_silent() -> ! {
    loop {
        thread::park();
    }
}
