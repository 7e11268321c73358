package model

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ms = time.Millisecond

func TestMessages(t *testing.T) {
	f := Fleet{Clusters: 100, Applications: 500}
	for name, c := range map[string]struct {
		pushes, affected int
		want             Messages
	}{
		"nothing costs nothing": {0, 0, Messages{}},
		"a push that concerns nobody is routed and told by every cluster, and heard of by each": {1, 0, Messages{Events: 101, Routed: 100, Followed: 10_000}},
		"an Application costs a request, two facts, a state, and a lease taken and released":    {1, 1, Messages{Events: 103, Requests: 1, Leases: 2, States: 1, Routed: 100, Followed: 10_000}},
		"all": {1, 50_000, Messages{Events: 100_101, Requests: 50_000, Leases: 100_000, States: 50_000, Routed: 100, Followed: 10_000}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, f.Messages(c.pushes, c.affected)); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDrainIsWhatIsBusiest(t *testing.T) {
	fleet := Fleet{Clusters: 2, Applications: 100, Workers: 2, Slots: 5, Service: 100 * ms}
	shared := fleet
	shared.Cores = 2
	for name, c := range map[string]struct {
		fleet    Fleet
		costs    Costs
		affected int
		clusters int
		want     time.Duration
	}{
		"the slots: ten rounds of ten":             {fleet, Costs{}, 200, 2, 1000 * ms},
		"the slots: a round that is not full":      {fleet, Costs{}, 1, 1, 100 * ms},
		"nothing to do":                            {fleet, Costs{}, 0, 0, 0},
		"the stream of facts: 403 of them":         {fleet, Costs{Fact: Cost{Wall: 10 * ms}, Request: Cost{Wall: 19 * ms}}, 200, 2, 4030 * ms},
		"the queue":                                {fleet, Costs{Fact: Cost{Wall: 5 * ms}, Request: Cost{Wall: 20 * ms}}, 200, 2, 4000 * ms},
		"processors of their own are never short":  {fleet, Costs{Lease: Cost{CPU: time.Hour}}, 200, 2, 1000 * ms},
		"two processors share what all clients do": {shared, Costs{Lease: Cost{CPU: 20 * ms}}, 200, 2, 2000 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.fleet.Drain(c.costs, 1, c.affected, c.clusters); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestPush(t *testing.T) {
	f := Fleet{Clusters: 4, Applications: 10, Workers: 1, Slots: 1, Service: 100 * ms, Cores: 2}
	costs := Costs{Fact: Cost{Wall: ms}, Digest: ms}
	// 1 to publish; 4 x 10 comparisons on two processors; ten attempts, one by one.
	want := Times{Median: 21*ms + 450*ms, P99: 21*ms + 891*ms, Last: 21*ms + 1000*ms}
	if diff := cmp.Diff(want, f.Push(costs, 10, 1)); diff != "" {
		t.Errorf("times (-want +got):\n%s", diff)
	}
	f.Cores = 0 // each its own
	want = Times{Median: 11*ms + 450*ms, P99: 11*ms + 891*ms, Last: 11*ms + 1000*ms}
	if diff := cmp.Diff(want, f.Push(costs, 10, 1)); diff != "" {
		t.Errorf("times on machines of their own (-want +got):\n%s", diff)
	}
}

func TestRow(t *testing.T) {
	f := Fleet{Clusters: 10, Applications: 10, Workers: 2, Slots: 1, Service: 100 * ms, Cores: 2}
	costs := Costs{Digest: ms, Follow: Cost{CPU: 2 * ms}}
	// One push is routed in 10 x (2 + 10 x 1) on two processors = 60; eight are looked at at a
	// time. All twenty take 1200, and 2000 facts and 20 states followed 2020.
	want := Times{Median: 240 * ms, P99: 480 * ms, Last: 1200*ms + 2020*ms}
	if diff := cmp.Diff(want, f.Row(costs, 20)); diff != "" {
		t.Errorf("times (-want +got):\n%s", diff)
	}
}

func TestTheAlerterTakesOneFactAfterTheOther(t *testing.T) {
	if got, want := (Fleet{}).Lag(Costs{Fact: Cost{Wall: 2 * ms}, Alert: Cost{Wall: ms}}, 100), 600*ms; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestRestart(t *testing.T) {
	f := Fleet{Clusters: 10, Applications: 100, Workers: 2, Cores: 2}
	costs := Costs{Follow: Cost{Wall: 3 * ms, CPU: ms}}
	if got, want := f.Restart(costs), 1000*ms; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	f.Cores = 0
	if got, want := f.Restart(costs), 6000*ms; got != want {
		t.Errorf("on machines of their own %s, want %s", got, want)
	}
}
