package v1alpha1

import (
	"bytes"
	"encoding/json"
)

// UnmarshalJSON never fails: an Application whose inventory cannot be read must not keep
// the others from being read.
func (i *Inventory) UnmarshalJSON(text []byte) error {
	type plain Inventory
	*i = Inventory{}
	if json.Unmarshal(text, (*plain)(i)) != nil {
		*i = Inventory{Foreign: bytes.Clone(text)}
	}
	return nil
}

// MarshalJSON leaves what cannot be read as it stands there.
func (i Inventory) MarshalJSON() ([]byte, error) {
	if i.Foreign != nil {
		return i.Foreign, nil
	}
	type plain Inventory
	return json.Marshal(plain(i))
}

// UnmarshalJSON never fails: what cannot be read is no history.
func (h *History) UnmarshalJSON(text []byte) error {
	var entries []HistoryEntry
	if json.Unmarshal(text, &entries) != nil {
		entries = nil
	}
	*h = entries
	return nil
}
