package bus

import (
	"testing"

	"github.com/plumb-gitops/plumb/pkg/event"
)

func BenchmarkEncode(b *testing.B) {
	e := pushEvent(func(e *event.Event) {
		e.ID, e.Trace = "acme/72d3162e-cc78-11e3-81ab-4c9367dc0958/0", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := encode(e); err != nil {
			b.Fatal(err)
		}
	}
}
