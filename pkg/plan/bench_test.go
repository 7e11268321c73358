package plan_test

import (
	"fmt"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// One of forty objects differs from what was applied.
func BenchmarkDecide(b *testing.B) {
	const count = 40
	a := application()
	in := plan.Input{Application: a, Heal: true, Fields: fields}
	var desired []string
	var owned inventory.Inventory
	for i := range count {
		owned = owned.Record(entry(b, a, fmt.Sprintf("ConfigMap c%d=one uid:u%d", i, i)))
		desired = append(desired, fmt.Sprintf("ConfigMap c%d=one", i))
	}
	desired[7] = "ConfigMap c7=two"
	in.Desired, in.Inventory = prepared(b, a, desired...), owned
	b.ReportAllocs()
	for b.Loop() {
		p, err := plan.Decide(in)
		if err != nil {
			b.Fatal(err)
		}
		if p.Settled() {
			b.Fatal("nothing is planned")
		}
	}
}
