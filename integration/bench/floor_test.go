package main

import (
	"testing"
	"time"
)

func TestTheBestWidthIsTheOneThatIsBestMostly(t *testing.T) {
	round := func(times ...time.Duration) versus {
		r := versus{floors: floors{}}
		for i, took := range times {
			r.floors[widths[i]] = floor{first: spent{time: took * time.Second}}
		}
		return r
	}
	cases := map[string]struct {
		rounds []versus
		want   int
	}{
		"one round":                      {[]versus{round(4, 3, 5, 6)}, 16},
		"one that was lucky once":        {[]versus{round(4, 5, 5, 1), round(4, 5, 5, 9), round(4, 5, 5, 9)}, 8},
		"equal ones: who asks for least": {[]versus{round(4, 4, 4, 4)}, 8},
		"one that was unlucky but once":  {[]versus{round(5, 5, 4, 5), round(5, 5, 9, 5), round(5, 5, 4, 5)}, 32},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := bestWidth(c.rounds, func(f floor) time.Duration { return f.first.time }); got != c.want {
				t.Errorf("%d at a time, want %d", got, c.want)
			}
		})
	}
}
