package bus_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
)

func TestApplyChangesAgeAndSize(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	b := open(t, server)
	stream, err := js.Stream(t.Context(), "PLUMB_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	want := stream.CachedInfo().Config
	other := want
	other.MaxAge, other.MaxBytes, other.Duplicates = time.Hour, 1<<20, time.Minute
	other.AllowAtomicPublish = false
	if _, err := js.UpdateStream(t.Context(), other); err != nil {
		t.Fatal(err)
	}

	lines, err := b.Apply(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(lines, "\n"); !strings.HasPrefix(got, "PLUMB_EVENTS: max_bytes was 1048576, is 1073741824") {
		t.Errorf("told %q", got)
	}
	stream, err = js.Stream(t.Context(), "PLUMB_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, stream.CachedInfo().Config); diff != "" {
		t.Error(diff)
	}
	if lines, err := b.Apply(t.Context()); err != nil || len(lines) > 0 {
		t.Errorf("a second time changed %q, %v", lines, err)
	}
}
