package model

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestQuiet(t *testing.T) {
	fleet := Fleet{Clusters: 10, Applications: 330, Workers: 1}
	for name, c := range map[string]struct {
		repositories int
		interval     time.Duration
		want         Quiet
	}{
		"of one repository nearly every second finds somebody's turn": {1, 100 * time.Second, Quiet{States: 100, Pulls: 24, Lists: 9.63}},
		"of many it is one list an Application and interval":          {330, 100 * time.Second, Quiet{States: 100, Pulls: 24, Lists: 32.8}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, fleet.Quiet(c.repositories, c.interval), cmpopts.EquateApprox(0.01, 0)); diff != "" {
				t.Errorf("a second (-want +got):\n%s", diff)
			}
		})
	}
}
