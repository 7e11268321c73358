package receiver_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/service/receiver"
)

// raw opens a connection that says what it is told and nothing else.
func raw(t testing.TB, addr, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

func answerOn(t testing.TB, c net.Conn) reply {
	t.Helper()
	out, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, out)
}

const head = "POST /hooks/github HTTP/1.1\r\nHost: x\r\n"

func TestSlowSendersGet408(t *testing.T) {
	for what, c := range map[string]struct{ says, drip, reason string }{
		"half a request line":      {"POST /ho", "", "header took too long"},
		"half a header":            {head + "X-Slow: ", "", "header took too long"},
		"a header that drips":      {head + "X-Slow: ", "x", "header took too long"},
		"no body":                  {head + "Content-Length: 10\r\n\r\n", "", "body took too long"},
		"half a body":              {head + "Content-Length: 10\r\n\r\n{", "", "body took too long"},
		"a body that drips":        {head + "Content-Length: 100000\r\n\r\n{", " ", "body took too long"},
		"chunks that drip":         {head + "Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", "body took too long"},
		"a slow body, other hooks": {strings.Replace(head, "github", "unknown", 1) + "Content-Length: 10\r\n\r\n{", "", "body took too long"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			addr, _ := serve(t, build(t, hooked(t, "github"), &recorder{}, receiver.Options{Limits: receiver.Limits{Read: 200 * time.Millisecond}}))
			began := time.Now()
			conn := raw(t, addr, c.says)
			stop := make(chan struct{})
			defer close(stop)
			if c.drip != "" {
				go drip(conn, c.drip, stop)
			}
			got := answerOn(t, conn)
			if got.Status != http.StatusRequestTimeout || got.Reason != c.reason {
				t.Errorf("answer %+v", got)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the answer took %s", took)
			}
		})
	}
}

// drip sends a bit every few milliseconds, as long as the connection takes it.
func drip(c net.Conn, bit string, stop <-chan struct{}) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			if _, err := io.WriteString(c, bit); err != nil {
				return
			}
		}
	}
}

func TestSilentConnectionsAreClosedWithoutAWord(t *testing.T) {
	addr, _ := serve(t, build(t, hooked(t, "github"), &recorder{}, receiver.Options{Limits: receiver.Limits{Read: 100 * time.Millisecond}}))
	if said, err := io.ReadAll(raw(t, addr, "")); err != nil || len(said) != 0 {
		t.Errorf("said %q, %v", said, err)
	}
}

func TestAConnectionIsGoodForSeveralDeliveries(t *testing.T) {
	var out recorder
	addr, _ := serve(t, build(t, hooked(t, "github"), &out, receiver.Options{Limits: receiver.Limits{Read: 500 * time.Millisecond}}))
	body := payload(t, "github/push")
	whole := fmt.Sprintf("%sContent-Type: application/json\r\nX-GitHub-Event: push\r\nX-Hub-Signature-256: %s\r\nContent-Length: %d\r\n\r\n%s", head, sign(body), len(body), body)
	conn := raw(t, addr, whole)
	in := bufio.NewReader(conn)
	for i := range 3 {
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, answer); got.Status != http.StatusAccepted {
			t.Fatalf("delivery %d: %+v", i, got)
		}
		next := whole
		if i == 2 {
			next = head // the fourth never gets further
		}
		if _, err := io.WriteString(conn, next); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, answer); got.Status != http.StatusRequestTimeout || out.count() != 3 {
		t.Errorf("half a fourth delivery: %+v, %d published", got, out.count())
	}
}

// Neither the read limit nor a sender that hangs up cuts off a publish.
func TestTheReadLimitIsNotThatOfThePublish(t *testing.T) {
	const limit = 200 * time.Millisecond
	p := receiver.PublisherFunc(func(ctx context.Context, _ event.Event, _ string) (uint64, error) {
		late := time.NewTimer(2 * limit)
		defer late.Stop()
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-late.C:
			return 1, nil
		}
	})
	addr, _ := serve(t, build(t, hooked(t, "github"), p, receiver.Options{Limits: receiver.Limits{Read: limit}}))
	if got := send(t, githubPush(t, addr, "github", "d")); got.Status != http.StatusAccepted {
		t.Errorf("answer %+v", got)
	}
}

func TestASenderThatHangsUpDoesNotStopThePublish(t *testing.T) {
	entered, ended := make(chan struct{}), make(chan error, 1)
	p := receiver.PublisherFunc(func(ctx context.Context, _ event.Event, _ string) (uint64, error) {
		close(entered)
		late := time.NewTimer(300 * time.Millisecond)
		defer late.Stop()
		select {
		case <-ctx.Done():
		case <-late.C:
		}
		ended <- ctx.Err()
		return 1, ctx.Err()
	})
	addr, _ := serve(t, build(t, hooked(t, "github"), p, receiver.Options{}))
	ctx, hangUp := context.WithCancel(t.Context())
	q := githubPush(t, addr, "github", "d").WithContext(ctx)
	go func() {
		if out, err := client.Do(q); err == nil {
			out.Body.Close()
		}
	}()
	<-entered
	hangUp()
	if err := <-ended; err != nil {
		t.Errorf("the publish was cut off: %v", err)
	}
}

func TestBodiesUpToTheLimit(t *testing.T) {
	body := payload(t, "github/push")
	limit := int64(len(body))
	for what, c := range map[string]struct {
		body    []byte
		chunked bool
		hook    string
		status  int
	}{
		"exactly the limit":            {body, false, "github", 202},
		"exactly the limit, chunked":   {body, true, "github", 202},
		"one byte more":                {append(bytes.Clone(body), ' '), false, "github", 413},
		"one byte more, chunked":       {append(bytes.Clone(body), ' '), true, "github", 413},
		"one byte more, unknown hook":  {append(bytes.Clone(body), ' '), false, "unknown", 413},
		"much more than the limit":     {make([]byte, 5<<20), false, "github", 413},
		"much more, chunked, unsigned": {make([]byte, 5<<20), true, "github", 413},
	} {
		t.Run(what, func(t *testing.T) {
			var out recorder
			addr, _ := serve(t, build(t, hooked(t, "github"), &out, receiver.Options{Limits: receiver.Limits{Body: limit}}))
			q := github(t, addr, c.hook, "d", "push", c.body)
			if c.chunked {
				q.Body, q.ContentLength = io.NopCloser(bytes.NewReader(c.body)), -1
			}
			got := send(t, q)
			if got.Status != c.status {
				t.Errorf("answer %+v", got)
			}
			if c.status == 413 && (got.Reason != "body is too large" || out.count() != 0) {
				t.Errorf("answer %+v, %d published", got, out.count())
			}
		})
	}
}

func TestTheDefaultLimitIs25MiB(t *testing.T) {
	r := build(t, hooked(t, "github"), &recorder{}, receiver.Options{})
	addr, _ := serve(t, r)
	for size, status := range map[int]int{25 << 20: 401, 25<<20 + 1: 413} {
		q := github(t, addr, "github", "d", "push", make([]byte, size))
		q.Header.Set("X-Hub-Signature-256", "sha256=00")
		if got := send(t, q); got.Status != status {
			t.Errorf("%d bytes: %+v, want %d", size, got, status)
		}
	}
}

// endless never stops sending chunks and counts the bytes that were taken.
type endless struct{ taken *atomic.Int64 }

func (e endless) Read(b []byte) (int, error) { e.taken.Add(int64(len(b))); return len(b), nil }

func TestEndlessChunksLeaveMemoryFlat(t *testing.T) {
	const body, memory, senders = 4 << 20, 8 << 20, 24
	addr, _ := serve(t, build(t, hooked(t, "github"), &recorder{}, receiver.Options{Limits: receiver.Limits{Body: body, Memory: memory}}))
	defer debug.SetGCPercent(debug.SetGCPercent(20)) // what is held counts, not what waits for the collector
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	var taken atomic.Int64
	statuses := make(chan int, senders)
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			q, _ := http.NewRequest(http.MethodPost, "http://"+addr+"/hooks/github", endless{&taken})
			out, err := client.Do(q)
			if err != nil { // the server hung up while we were sending: as good
				statuses <- 0
				return
			}
			out.Body.Close()
			statuses <- out.StatusCode
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	peak := peakHeap(done)
	for range senders {
		if s := <-statuses; s != 0 && s != 413 && s != 503 {
			t.Errorf("status %d", s)
		}
	}
	// Twice the memory, since a growing body is there twice; the rest is buffers of both ends.
	if grown := int64(peak) - int64(before.HeapAlloc); grown > 4*memory {
		t.Errorf("the heap grew by %d MiB while %d MiB were sent", grown>>20, taken.Load()>>20)
	}
	if per := taken.Load() / senders; per > 3*body {
		t.Errorf("%d bytes were taken of each sender", per)
	}
	if got := send(t, github(t, addr, "github", "d", "push", make([]byte, body))); got.Status != http.StatusUnauthorized && got.Status != http.StatusUnprocessableEntity {
		t.Errorf("a large body afterwards: %+v", got) // memory was given back
	}
}

func peakHeap(done <-chan struct{}) (peak uint64) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapAlloc)
		select {
		case <-done:
			return peak
		case <-tick.C:
		}
	}
}

func TestLargeBodiesDoNotCrowdOutOrdinaryOnes(t *testing.T) {
	var out recorder
	addr, _ := serve(t, build(t, hooked(t, "github"), &out, receiver.Options{Limits: receiver.Limits{Memory: 1 << 20}}))
	large := raw(t, addr, head+"Content-Length: 20000000\r\n\r\n"+strings.Repeat("x", 600<<10)) // holds all the memory
	fill := "POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n" + strings.Repeat("x", 1<<20)
	second := raw(t, addr, fill)
	if got := answerOn(t, second); got.Status != http.StatusServiceUnavailable || got.Reason != "too many large bodies at once" || got.Header.Get("Retry-After") != "1" {
		t.Errorf("a second large body: %+v", got)
	}
	if got := send(t, githubPush(t, addr, "github", "d")); got.Status != http.StatusAccepted {
		t.Errorf("an ordinary delivery: %+v", got)
	}
	large.Close()
}

func TestFullMeans503(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	p := receiver.PublisherFunc(func(context.Context, event.Event, string) (uint64, error) {
		entered <- struct{}{}
		<-release
		return 1, nil
	})
	addr, _ := serve(t, build(t, hooked(t, "github"), p, receiver.Options{Limits: receiver.Limits{InFlight: 2}}))
	answers := make(chan reply, 2)
	for _, id := range []string{"a", "b"} {
		q := githubPush(t, addr, "github", id)
		go func() { answers <- send(t, q) }()
		<-entered
	}
	if got := send(t, githubPush(t, addr, "github", "c")); got.Status != http.StatusServiceUnavailable || got.Header.Get("Retry-After") != "1" || got.Reason != "too many deliveries at once" {
		t.Errorf("a third: %+v", got)
	}
	select {
	case got := <-answers:
		t.Errorf("answered before it was stored: %+v", got)
	default:
	}
	close(release)
	for range 2 {
		if got := <-answers; got.Status != http.StatusAccepted {
			t.Errorf("one of two: %+v", got)
		}
	}
}

func TestShutdownFinishesWhatIsInFlight(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	p := receiver.PublisherFunc(func(ctx context.Context, _ event.Event, _ string) (uint64, error) {
		close(entered)
		<-release
		return 1, ctx.Err()
	})
	addr, end := serve(t, build(t, hooked(t, "github"), p, receiver.Options{}))
	answered := make(chan reply, 1)
	q := githubPush(t, addr, "github", "a")
	go func() { answered <- send(t, q) }()
	<-entered
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	for { // until the listener is closed
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			break
		}
		c.Close()
	}
	select {
	case err := <-ended:
		t.Fatalf("ended before its delivery: %v", err)
	default:
	}
	close(release)
	if got := <-answered; got.Status != http.StatusAccepted {
		t.Errorf("answer %+v", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestShutdownEndsWithoutThoseWhoNeverFinish(t *testing.T) {
	r := build(t, hooked(t, "github"), &recorder{}, receiver.Options{Limits: receiver.Limits{Drain: 50 * time.Millisecond}})
	addr, end := serve(t, r)
	conn := raw(t, addr, head+"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "100") { // it is in the handler now
		t.Fatalf("%q, %v", line, err)
	}
	if err := end(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ended with %v", err)
	}
}

func TestRunListensWhereItIsTold(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := hooked(t, "github")
	c.Listen = taken.Addr().String()
	if err := build(t, c, &recorder{}, receiver.Options{}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "receiver.listen") {
		t.Errorf("an address in use: %v", err)
	}
}
