package v1alpha1_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

func TestAStatusIsReadWhateverStandsInIt(t *testing.T) {
	entry := v1alpha1.InventoryEntry{ID: "/ConfigMap/a/b", Version: "v1"}
	cases := map[string]struct {
		status    string
		inventory *v1alpha1.Inventory
		history   int
	}{
		"as Plumb writes it": {
			status:    `{"inventory":{"entries":[{"id":"/ConfigMap/a/b","version":"v1"}]},"history":[{"revision":"r","at":"2026-01-02T03:04:05Z"}]}`,
			inventory: &v1alpha1.Inventory{Entries: []v1alpha1.InventoryEntry{entry}}, history: 1,
		},
		"neither":                            {status: `{}`},
		"null for both":                      {status: `{"inventory":null,"history":null}`},
		"an inventory without entries":       {status: `{"inventory":{}}`, inventory: &v1alpha1.Inventory{}},
		"an inventory that is a number":      {status: `{"inventory":7}`, inventory: &v1alpha1.Inventory{Foreign: []byte(`7`)}},
		"an entry whose id is a number":      {status: `{"inventory":{"entries":[{"id":7}]}}`, inventory: &v1alpha1.Inventory{Foreign: []byte(`{"entries":[{"id":7}]}`)}},
		"a history that is text":             {status: `{"history":"long"}`},
		"a history of no time":               {status: `{"history":[{"revision":"r","at":"yesterday"}]}`},
		"a history that is a map of entries": {status: `{"history":{"0":{"revision":"r"}}}`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got v1alpha1.ApplicationStatus
			if err := json.Unmarshal([]byte(c.status), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.inventory, got.Inventory); diff != "" {
				t.Errorf("inventory (-want +got):\n%s", diff)
			}
			if len(got.History) != c.history {
				t.Errorf("%d entries of history, want %d", len(got.History), c.history)
			}
		})
	}
}

// FuzzInventory shows that whatever is read is written as it was, or is an inventory.
func FuzzInventory(f *testing.F) {
	for _, seed := range []string{`{}`, `{"entries":[{"id":"/ConfigMap/a/b","version":"v1","uid":"u"}]}`, `7`, `[{}]`, `{"entries":{}}`, `{"entries":[null]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var first, second v1alpha1.Inventory
		if json.Unmarshal(text, &first) != nil {
			return // no JSON
		}
		written, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(written, &second); err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if (first.Foreign == nil) != (second.Foreign == nil) || len(first.Entries) != len(second.Entries) {
			t.Errorf("%q is read as %+v, and what is written of it as %+v", text, first, second)
		}
	})
}
