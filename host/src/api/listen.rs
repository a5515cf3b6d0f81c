//! Who is connected to the admin API. Every program of this machine can connect, with a token or without one, so there
//! are only so many at a time, and who says nothing makes place for who comes next.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::{AbortHandle, Id, JoinSet},
    time::sleep,
};

/// Pause after the system has refused a connection: it has no files left, and more are of no use at once.
const REFUSED: Duration = Duration::from_millis(200);

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// At the same time.
    pub(super) most: usize,
    /// Time for the head of a request, and between two of them.
    pub(super) head: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            most: 128,
            head: Duration::from_secs(10),
        }
    }
}

/// Whether a request of a connection is answered at the moment.
#[derive(Debug, Clone, Default)]
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn is(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// An answer under way, until its last byte is handed over.
struct Answering {
    busy: Busy,
    done: Arc<Notify>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.busy.0.store(false, Ordering::Release);
        self.done.notify_one();
    }
}

struct Open {
    id: Id,
    busy: Busy,
    abort: AbortHandle,
}

/// All that are connected, the oldest first.
#[derive(Default)]
struct Connected {
    tasks: JoinSet<()>,
    open: VecDeque<Open>,
    done: Arc<Notify>,
}

impl Connected {
    fn has_room(&self, most: usize) -> bool {
        self.open.len() < most || self.open.iter().any(|open| !open.busy.is())
    }

    /// Closes the oldest connection on which nothing is answered.
    fn make_room(&mut self, most: usize) {
        if self.open.len() < most {
            return;
        }
        let idle = self.open.iter().position(|open| !open.busy.is());
        if let Some(closed) = idle.and_then(|at| self.open.remove(at)) {
            closed.abort.abort();
        }
    }

    fn add(&mut self, stream: TcpStream, router: Router, head: Duration, stop: Stop) {
        let busy = Busy::default();
        let done = Arc::clone(&self.done);
        let talk = talk(stream, router, head, busy.clone(), done, stop);
        let abort = self.tasks.spawn(talk);
        let id = abort.id();
        self.open.push_back(Open { id, busy, abort });
    }

    fn ended(&mut self, id: Id) {
        self.open.retain(|open| open.id != id);
    }

    /// Finishes the answers under way.
    async fn finish(mut self) {
        for open in self.open.iter().filter(|open| !open.busy.is()) {
            open.abort.abort();
        }
        while self.tasks.join_next().await.is_some() {}
    }
}

type Stop = watch::Receiver<()>;

/// Serves until `stop` is ready; then the open answers are finished.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut connected = Connected::default();
    let (stopping, stopped) = watch::channel(());
    let mut stop = pin!(stop);
    loop {
        let has_room = connected.has_room(bounds.most);
        let done = Arc::clone(&connected.done);
        tokio::select! {
            () = &mut stop => break,
            Some(ended) = connected.tasks.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                connected.ended(id);
            }
            () = done.notified(), if !has_room => {}
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, _)) => {
                    connected.make_room(bounds.most);
                    connected.add(stream, router.clone(), bounds.head, stopped.clone());
                }
                // Who connected has gone away already, or there are no files: others may come, and some may go.
                Err(error) => {
                    tracing::debug!(%error, "a connection to the admin API could not be taken");
                    sleep(REFUSED).await;
                }
            },
        }
    }
    drop(listener);
    drop(stopping);
    connected.finish().await;
    Ok(())
}

/// One connection, until it is closed.
async fn talk(
    stream: TcpStream,
    router: Router,
    head: Duration,
    busy: Busy,
    done: Arc<Notify>,
    mut stop: Stop,
) {
    // It only makes answers slower when it fails.
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        busy.0.store(true, Ordering::Release);
        let answering = Answering {
            busy: busy.clone(),
            done: Arc::clone(&done),
        };
        let answer = router.call(request);
        async move { Ok::<_, Infallible>(kept(answer.await?, answering)) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut stopping = false;
    loop {
        tokio::select! {
            // How a connection ends is of no interest: who asked has the answer, or has gone.
            _ = &mut connection => return,
            _ = stop.changed(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// An answer that keeps something as long as its body lasts.
fn kept(answer: Response<Body>, answering: Answering) -> Response<Body> {
    answer.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _kept = &answering;
            frame
        }))
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        sync::oneshot,
        task::JoinHandle,
    };

    use super::*;

    struct Served {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        serving: JoinHandle<io::Result<()>>,
        /// Lets a request of `/slow` be answered.
        go: Arc<Notify>,
        /// A request of `/slow` is there.
        came: Arc<Notify>,
    }

    async fn served(most: usize, head: Duration) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (go, came) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (waits, comes) = (Arc::clone(&go), Arc::clone(&came));
        let slow = async move || {
            comes.notify_one();
            waits.notified().await;
            "slow"
        };
        let router = Router::new()
            .route("/", get(async || "quick"))
            .route("/slow", get(slow));
        let (stop, stopped) = oneshot::channel();
        let bounds = Bounds { most, head };
        let serving = tokio::spawn(serve(listener, router, bounds, async move {
            let _ = stopped.await;
        }));
        Served {
            address,
            stop,
            serving,
            go,
            came,
        }
    }

    async fn say(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// All that comes until the connection is closed.
    async fn rest(mut stream: TcpStream) -> String {
        let mut bytes = Vec::new();
        // One that is reset has told what it had to tell.
        let _ = stream.read_to_end(&mut bytes).await;
        String::from_utf8(bytes).unwrap()
    }

    fn request(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    }

    const LONG: Duration = Duration::from_mins(10);

    #[tokio::test]
    async fn half_a_head_ends_by_time() {
        let served = served(8, Duration::from_millis(20)).await;
        let half = say(served.address, "GET / HTTP/1.1\r\nhost:").await;
        let silent = say(served.address, "").await;
        assert!(!rest(half).await.contains("200"));
        assert_eq!(rest(silent).await, "");
        let whole = rest(say(served.address, &request("/")).await).await;
        assert!(
            whole.contains("200 OK") && whole.ends_with("quick"),
            "{whole}"
        );
    }

    #[tokio::test]
    async fn who_says_nothing_makes_place_and_who_is_answered_stays() {
        let served = served(4, LONG).await;
        let slow = say(served.address, &request("/slow")).await;
        served.came.notified().await;
        let mut halves = Vec::new();
        for _ in 0..50 {
            halves.push(say(served.address, "GET / HTTP/1.1\r\nhost:").await);
        }
        let whole = rest(say(served.address, &request("/")).await).await;
        assert!(whole.ends_with("quick"), "{whole}");
        // All but the last ones are closed.
        for half in halves.drain(..46) {
            assert_eq!(rest(half).await, "");
        }
        served.go.notify_one();
        assert!(rest(slow).await.ends_with("slow"));
    }

    #[tokio::test]
    async fn where_all_are_answered_the_next_one_waits() {
        let served = served(1, LONG).await;
        let slow = say(served.address, &request("/slow")).await;
        served.came.notified().await;
        let next = say(served.address, &request("/")).await;
        served.go.notify_one();
        assert!(rest(slow).await.ends_with("slow"));
        assert!(rest(next).await.ends_with("quick"));
    }

    #[tokio::test]
    async fn a_stop_finishes_answers_and_nothing_else() {
        let served = served(8, LONG).await;
        let half = say(served.address, "GET / HTTP/1.1\r\nhost:").await;
        let mut kept = say(served.address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut start = [0; 12];
        kept.read_exact(&mut start).await.unwrap();
        let slow = say(served.address, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        served.came.notified().await;
        served.stop.send(()).unwrap();
        assert_eq!(rest(half).await, "");
        assert!(rest(kept).await.ends_with("quick"));
        served.go.notify_one();
        assert!(rest(slow).await.ends_with("slow"));
        served.serving.await.unwrap().unwrap();
    }
}
