package catalog_test

import (
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/object"
)

func TestHeldByOther(t *testing.T) {
	c, client, namespace := open(t)
	run(t, c)
	key, other := app.Key{Namespace: namespace, Name: "web"}, app.Key{Namespace: namespace, Name: "other"}
	id := object.ID{Kind: "ConfigMap", Namespace: namespace, Name: "settings"}
	hold := func(entries ...v1alpha1.InventoryEntry) {
		t.Helper()
		a, err := c.Read(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		a.Status.Inventory = &v1alpha1.Inventory{Entries: entries}
		if a, err = c.WriteStatus(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		shown(t, c, a)
	}
	held := func(sentence string, byOther, byOwn bool) {
		t.Helper()
		if got := c.HeldByOther(id, other); got != byOther {
			t.Errorf("%s: held by another than other: %v", sentence, got)
		}
		if got := c.HeldByOther(id, key); got != byOwn {
			t.Errorf("%s: held by another than its holder: %v", sentence, got)
		}
	}
	apply(t, client, namespace, web)
	held("in no inventory", false, false)
	hold(v1alpha1.InventoryEntry{ID: id.String(), Version: "v1"})
	held("in an inventory", true, false)
	hold(v1alpha1.InventoryEntry{ID: "/ConfigMap/" + namespace + "/more", Version: "v1"})
	held("let go", false, false)
}

// shown returns once the watch has shown an Application as it was written.
func shown(t *testing.T, c *catalog.Catalog, a *v1alpha1.Application) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if seen, found := c.Get(a.Key()); found && seen.ResourceVersion == a.ResourceVersion {
			return
		}
	}
	t.Fatalf("the watch does not show resourceVersion %s", a.ResourceVersion)
}
