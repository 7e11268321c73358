package bus_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

func TestStreamsAreWhatTheDesignSays(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	open(t, server, func(o *bus.Options) { o.Timing = bus.Timing{} })
	type facts struct {
		Subjects  string
		Retention jetstream.RetentionPolicy
		PerKey    int64
		Age       time.Duration
		Rollups   bool
		Persist   jetstream.PersistModeType
		Marker    time.Duration
	}
	want := map[string]facts{
		"PLUMB_EVENTS":       {"plumb.events.>", jetstream.LimitsPolicy, -1, 720 * time.Hour, false, 0, 0},
		"PLUMB_SYNC":         {"plumb.sync.*.*.*", jetstream.WorkQueuePolicy, 1, 24 * time.Hour, false, 0, 0},
		"PLUMB_DEAD":         {"plumb.dead.>", jetstream.LimitsPolicy, -1, 720 * time.Hour, false, 0, 0},
		"KV_plumb_leases":    {"$KV.plumb_leases.>", jetstream.LimitsPolicy, 1, 10 * time.Second, true, jetstream.AsyncPersistMode, 10 * time.Second},
		"KV_plumb_apps":      {"$KV.plumb_apps.>", jetstream.LimitsPolicy, 1, 0, false, 0, 0},
		"KV_plumb_incidents": {"$KV.plumb_incidents.>", jetstream.LimitsPolicy, 1, 0, false, 0, 0},
	}
	got := map[string]facts{}
	for info := range js.ListStreams(t.Context()).Info() {
		c := info.Config
		if c.Storage != jetstream.FileStorage {
			t.Errorf("%s is not kept in files", c.Name)
		}
		got[c.Name] = facts{strings.Join(c.Subjects, " "), c.Retention, c.MaxMsgsPerSubject, c.MaxAge, c.AllowRollup, c.PersistMode, c.SubjectDeleteMarkerTTL}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
}

func TestADifferentStream(t *testing.T) {
	for name, c := range map[string]struct {
		stream  string
		change  func(*jetstream.StreamConfig)
		refused string // what the error says; empty: a warning
		warned  string
	}{
		"another age is a warning": {
			stream: "PLUMB_EVENTS", change: func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
			warned: "max_age is 1h0m0s, want 720h0m0s",
		},
		"another size is a warning": {
			stream: "PLUMB_DEAD", change: func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 },
			warned: "max_bytes is 1048576, want 268435456",
		},
		"a stream that takes no batches is a warning": {
			stream: "PLUMB_EVENTS", change: func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false },
			warned: "allow_atomic is false, want true",
		},
		"longer leases are a warning": {
			stream: "KV_plumb_leases", change: func(c *jetstream.StreamConfig) { c.MaxAge = time.Minute },
			warned: "max_age is 1m0s, want 10s",
		},
		"leases shorter than the guard reckons with are an error": {
			stream: "KV_plumb_leases", change: func(c *jetstream.StreamConfig) {
				c.MaxAge, c.Duplicates = 5*time.Second, 5*time.Second
			},
			refused: "max_age is 5s, want 10s",
		},
		"another retention is an error": {
			stream: "PLUMB_SYNC", change: func(c *jetstream.StreamConfig) { c.Retention = jetstream.LimitsPolicy },
			refused: "retention is Limits, want WorkQueue",
		},
		"more kept per subject is an error": {
			stream: "PLUMB_SYNC", change: func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 2 },
			refused: "max_msgs_per_subject is 2, want 1",
		},
		"other subjects are an error": {
			stream: "PLUMB_EVENTS", change: func(c *jetstream.StreamConfig) { c.Subjects = []string{"plumb.events.git.>"} },
			refused: "subjects is [plumb.events.git.>], want [plumb.events.>]",
		},
		"memory instead of files is an error": {
			stream: "PLUMB_EVENTS", change: func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
			refused: "storage is Memory, want File",
		},
		"roll-ups, by which a publisher may purge, are an error": {
			stream: "KV_plumb_apps", change: func(c *jetstream.StreamConfig) { c.AllowRollup = true },
			refused: "allow_rollup_hdrs is true, want false",
		},
		"leases synced one by one are an error": {
			stream: "KV_plumb_leases", change: func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.DefaultPersistMode },
			refused: "persist_mode is Default, want Async",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startServer(t, embedded.Options{})
			_, js := admin(t, server)
			remake(t, server, js, c.stream, c.change)
			var log lockedBuffer
			b, err := bus.Open(t.Context(), bus.Options{InProcess: server, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err == nil {
				defer b.Close()
			}
			class, _ := fault.ClassOf(err)
			switch {
			case c.refused == "" && err != nil:
				t.Errorf("error %v, want a warning", err)
			case c.refused != "" && (err == nil || class != fault.Permanent):
				t.Errorf("error %v, want a permanent fault", err)
			case c.refused != "" && (!strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), c.stream)):
				t.Errorf("error %q does not say %q of %s", err, c.refused, c.stream)
			}
			if !strings.Contains(log.String(), c.warned) {
				t.Errorf("log does not say %q:\n%s", c.warned, log.String())
			}
		})
	}
}

// remake puts a stream that differs in place of one of ours.
func remake(t *testing.T, server *embedded.Server, js jetstream.JetStream, name string, change func(*jetstream.StreamConfig)) {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Options{InProcess: server})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	stream, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	change(&config)
	if err := js.DeleteStream(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A server that still removes the files of a deleted stream cannot make a new
// one yet; here a file stands in its way, which its first refusal clears.
func TestAStreamIsMadeAsSoonAsTheServerHasAPlaceForIt(t *testing.T) {
	dir := t.TempDir()
	server, err := embedded.Start(dir, embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	b := open(t, server)
	nc, js := admin(t, server)
	deleteStreams(t, js)
	place := filepath.Join(dir, "jetstream", "$G", "streams", "PLUMB_EVENTS")
	eventually(t, "the files of the old stream are gone and one of ours stands in the way", func() bool {
		return os.MkdirAll(filepath.Dir(place), 0o700) == nil && os.WriteFile(place, nil, 0o600) == nil
	})
	asked := make(chan *nats.Msg, 1000)
	if _, err := nc.ChanSubscribe("$JS.API.STREAM.CREATE.PLUMB_EVENTS", asked); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	published := make(chan error, 1)
	go func() {
		_, err := b.Publish(t.Context(), push("1", "a"), "")
		published <- err
	}()
	receive(t, "the first request for the stream", asked)
	receive(t, "another request for it", asked)
	if err := receive(t, "the publish", published); err != nil {
		t.Error(err)
	}
}

func TestOpenWithoutNATSGoesOnAndConnectsLater(t *testing.T) {
	server := startServer(t, embedded.Options{})
	server.Stop()
	b := open(t, server, func(o *bus.Options) { o.Timeout = 300 * time.Millisecond })
	if err := b.Connected(); err == nil {
		t.Fatal("connected to a stopped server")
	}
	if _, err := b.Publish(t.Context(), push("1", "a"), ""); err == nil {
		t.Fatal("published to a stopped server")
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it publishes", func() bool {
		_, err := b.Publish(t.Context(), push("1", "a"), "1")
		return err == nil
	})
}

func TestWrongOptionsAreRefused(t *testing.T) {
	for name, o := range map[string]bus.Options{
		"a URL that is none":          {URL: "nats://[::1"},
		"credentials that are absent": {URL: "nats://127.0.0.1:1", CredentialsFile: "/nonexistent"},
	} {
		b, err := bus.Open(t.Context(), o)
		if class, _ := fault.ClassOf(err); err == nil || class != fault.Permanent {
			t.Errorf("%s: error %v, want a permanent fault", name, err)
		}
		if b != nil {
			b.Close()
		}
	}
}
