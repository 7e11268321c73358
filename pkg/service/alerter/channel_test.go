package alerter_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/alert"
	"github.com/plumb-gitops/plumb/pkg/alert/alerttest"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/service/alerter"
)

func TestADeadChannelDelaysNoOther(t *testing.T) {
	w, dead, ops := newWorld(t), newChannel(t, "dead", "slack"), newChannel(t, "ops", "webhook")
	w.start(routed(dead, ops), func(o *alerter.Options) { o.Endpoint.Timeout = time.Hour })
	dead.Always(alerttest.Hang)
	for n := range 10 {
		w.tell(fails(fmt.Sprintf("app-%d", n), 1))
	}
	eventually(t, "the other is told", func() bool { return len(ops.told(t)) == 10 })
	for n := range 10 {
		w.tell(succeeds(fmt.Sprintf("app-%d", n), 2))
	}
	eventually(t, "the other hears of the recoveries", func() bool { return len(ops.told(t)) == 20 })
	if dead.Requests() != 1 {
		t.Errorf("%d requests to the dead channel, want one that hangs", dead.Requests())
	}
}

// A channel that comes back hears what holds then, in one message each.
func TestAChannelThatComesBackHearsWhatStillHolds(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	w.start(routed(ops))
	ops.Always(alerttest.Status(404))
	w.tell(fails("over", 1), fails("broken", 1))
	eventually(t, "the channel was tried", func() bool { return ops.Requests() > 0 })
	w.tell(succeeds("over", 2))
	eventually(t, "one is over", func() bool { return w.incident("over").GetState() == alert.Recovered })
	eventually(t, "it is recorded that nothing was told", func() bool {
		_, told := w.incident("over").GetTold()["ops"]
		return !told
	})
	ops.Always(nil)
	other := w.start(routed(ops)) // does not know that the channel was down
	defer other(false)
	w.pass(2 * time.Minute)
	ops.expect(t, "broken opened")
}

func TestARetryAfterIsHonoured(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	w.start(routed(ops))
	ops.Then(alerttest.Status(429, "Retry-After", "1"))
	began := time.Now()
	w.tell(fails("web", 1), fails("db", 1))
	eventually(t, "both are told", func() bool { return len(ops.told(t)) == 2 })
	if took := time.Since(began); took < time.Second || ops.Requests() != 3 {
		t.Errorf("told after %s and %d requests", took, ops.Requests())
	}
}

func TestABadMessageDoesNotHoldUpTheNext(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	w.start(routed(ops))
	ops.Then(alerttest.Status(400))
	w.tell(fails("bad", 1))
	eventually(t, "it is refused", func() bool { return w.incident("bad").GetTold()["ops"] == alert.Refused })
	w.tell(fails("web", 1), succeeds("bad", 2))
	w.settled(ops)
	if told := ops.told(t); len(told) != 2 || told[0] != "web opened" {
		t.Errorf("told %v", told)
	}
	w.tell(fails("bad", 3))
	eventually(t, "its next opening is told", func() bool { return slices.Contains(ops.told(t), "bad opened") })
}

func TestRoutesDecideWhoIsTold(t *testing.T) {
	w, all, web := newWorld(t), newChannel(t, "all", "webhook"), newChannel(t, "web", "webhook")
	c := routed(all, web)
	c.Routes = []config.Route{{To: []string{"all"}}, {Match: config.Match{Names: []string{"web*"}}, To: []string{"web"}}}
	w.start(c)
	w.tell(fails("db", 1), fails("web-1", 1))
	web.expect(t, "web-1 opened")
	all.expect(t, "db opened", "web-1 opened")
}
