package git

import "github.com/plumb-gitops/plumb/pkg/tree"

// badName says what is wrong with the name of a tree's entry; empty when nothing is.
func badName(name string) string { return tree.BadName(name) }
