package service

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMemoryIsGivenBackAtRest(t *testing.T) {
	const mega = 1 << 20
	cases := map[string]struct {
		allocates []uint64 // between looks, in megabytes
		want      []int    // the looks at which memory is given back
	}{
		"a process that never did much": {allocates: []uint64{1, 1, 1, 1}},
		"work that goes on":             {allocates: []uint64{100, 100, 17, 16}},
		"work that ended":               {allocates: []uint64{100, 100, 1, 1}, want: []int{2}},
		"work that ended twice":         {allocates: []uint64{100, 1, 1, 100, 1}, want: []int{1, 4}},
		"a little now and then":         {allocates: []uint64{1, 9, 1, 1, 9, 1}, want: []int{1, 4}},
		"little work for long":          {allocates: []uint64{3, 3, 3, 3, 3, 3}, want: []int{2, 5}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var total uint64
			var got []int
			look := 0
			r := &rest{allocated: func() uint64 { return total }, free: func() { got = append(got, look) }}
			for i, n := range c.allocates {
				look, total = i, total+n*mega
				r.look()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("given back (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsAllocatedIsCounted(t *testing.T) {
	before := allocated()
	kept := make([]byte, 4<<20)
	if grew := allocated() - before; grew < uint64(len(kept)) {
		t.Errorf("%d bytes are counted of %d", grew, len(kept))
	}
}
