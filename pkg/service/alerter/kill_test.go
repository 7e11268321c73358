package alerter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/alert"
	"github.com/plumb-gitops/plumb/pkg/alert/alerttest"
	"github.com/plumb-gitops/plumb/pkg/alert/endpoint"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/service/alerter"
)

// childKey names the variable that makes this binary an alerter of its own.
const childKey = "PLUMB_TEST_ALERTER"

// job is what a child is to do.
type job struct {
	NATS   string
	Config config.Alerter
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childKey); text != "" {
		if err := child(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func child(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	b, err := bus.Open(context.Background(), bus.Options{URL: j.NATS, Timing: bus.Timing{AckWait: time.Second, Heartbeat: 300 * time.Millisecond, Pull: time.Second}})
	if err != nil {
		return err
	}
	a, err := alerter.New(j.Config, b, alerter.Options{
		Sweep: 50 * time.Millisecond, Settle: 200 * time.Millisecond,
		Endpoint: endpoint.Options{Timeout: 200 * time.Millisecond, Backoff: 5 * time.Millisecond},
	})
	if err != nil {
		return err
	}
	return a.Run(context.Background())
}

// spawn starts an alerter in a process of its own.
func (w *world) spawn(c config.Alerter) *exec.Cmd {
	w.t.Helper()
	text, err := json.Marshal(job{w.server.URL(), c})
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childKey+"="+string(text))
	cmd.Stderr = w.t.Output()
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = cmd.Process.Kill() }) // of one that is left over
	return cmd
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed, as it says
}

// The alerter is killed hard, again and again, always with a message on its
// way: before the channel accepts it, or after and before that is recorded.
func TestKilledAgainAndAgainNothingIsLostAndLittleDoubled(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	stop := w.start(config.Alerter{}) // so that the consumer is there
	stop(false)
	const applications, kills = 12, 5
	for n := range applications {
		w.tell(fails(fmt.Sprintf("app-%02d", n), 1))
	}
	doubled := 0
	for n := range kills {
		arrived := make(chan struct{})
		ops.Then(nil, func(rw http.ResponseWriter, r *http.Request) {
			if n%2 == 0 {
				doubled++
				ops.Accept(rw, r)
			}
			close(arrived)
			alerttest.Hang(rw, r)
		})
		cmd := w.spawn(routed(ops))
		await(t, "a message", arrived)
		kill(t, cmd)
	}
	cmd := w.spawn(routed(ops))
	defer kill(t, cmd)
	count := map[string]int{}
	eventually(t, "everything is told", func() bool {
		clear(count)
		for _, s := range ops.told(t) {
			count[s]++
		}
		return len(count) == applications
	})
	eventually(t, "everything is recorded", func() bool {
		for n := range applications {
			if w.incident(fmt.Sprintf("app-%02d", n)).GetTold()["ops"] != alert.Opened {
				return false
			}
		}
		return true
	})
	if got := len(ops.told(t)); got != applications+doubled {
		t.Errorf("%d messages about %d Applications, %d of them killed after the channel took one: %v", got, applications, doubled, count)
	}
}
