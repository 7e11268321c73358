package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseBenchmarks(t *testing.T) {
	const out = `goos: linux
pkg: github.com/plumb-gitops/plumb/pkg/render
BenchmarkRender/helm_in_a_new_child-2   	       5	 21000000 ns/op	  416140 B/op	   11002 allocs/op
BenchmarkLookups-16   	     100	   1000.5 ns/op	   12.00 ms/first-contact	       0 B/op	       3 allocs/op
BenchmarkBroken-2
PASS
`
	want := []benchmarkLine{
		{name: "Render/helm_in_a_new_child", nanoseconds: 21e6, allocations: 11002},
		{name: "Lookups", nanoseconds: 1000.5, allocations: 3},
	}
	if diff := cmp.Diff(want, parseBenchmarks([]byte(out)), cmp.AllowUnexported(benchmarkLine{})); diff != "" {
		t.Error(diff)
	}
}
