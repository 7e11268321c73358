package catalog_test

import (
	"strconv"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/app"
)

// TestLookIsNeverOlderThanOwnWrites: between a write and the API server's cache nothing waits.
func TestLookIsNeverOlderThanOwnWrites(t *testing.T) {
	for name, watches := range map[string]bool{"before the watch runs": false, "beside the watch": true} {
		t.Run(name, func(t *testing.T) {
			c, client, namespace := open(t)
			if watches {
				run(t, c)
			}
			apply(t, client, namespace, web)
			key := app.Key{Namespace: namespace, Name: "web"}
			a, err := c.Look(t.Context(), key)
			if err != nil || a == nil {
				t.Fatalf("%v, %v", a, err)
			}
			for n := range 50 {
				a.Status.Requested = strconv.Itoa(n)
				if _, err = c.WriteStatus(t.Context(), a); err != nil {
					t.Fatal(err)
				}
				if a, err = c.Look(t.Context(), key); err != nil || a.Status.Requested != strconv.Itoa(n) {
					t.Fatalf("after write %d: %v, %v", n, a, err)
				}
			}
		})
	}
}

func TestLookForWhatIsNotThere(t *testing.T) {
	c, _, namespace := open(t)
	if a, err := c.Look(t.Context(), app.Key{Namespace: namespace, Name: "web"}); a != nil || err != nil {
		t.Errorf("%v, %v", a, err)
	}
}
