// Package app names Applications. It imports nothing and nothing here fails
// but parsing.
package app

import (
	"fmt"
	"strings"
)

// Key names an Application within its cluster.
type Key struct {
	Namespace, Name string
}

func (k Key) String() string { return k.Namespace + "/" + k.Name }

// ParseKey reads "<namespace>/<name>".
func ParseKey(s string) (Key, error) {
	namespace, name, ok := strings.Cut(s, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return Key{}, fmt.Errorf("parse application %q: want <namespace>/<name>", s)
	}
	return Key{Namespace: namespace, Name: name}, nil
}
