package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/plumb-gitops/plumb/integration/bench/figures"
)

// hotPackages are where the benchmarks are of what every webhook, push and attempt goes through.
var hotPackages = []string{"bus", "fields", "plan", "render", "route", "service/receiver", "webhook"}

// The units of hot paths. A time is told next to that of a fixed piece of work, measured
// in the same round, so that two machines can be compared.
const (
	allocations = "allocations"
	yardsticks  = "x SHA-256 of 64 KiB"
)

// hotPaths runs the packages' own benchmarks, once in each round.
func (b *bench) hotPaths(ctx context.Context) error {
	var order []string
	all := map[string]*figures.Figure{}
	note := func(name, unit string, value float64) {
		key := name + unit
		if all[key] == nil {
			all[key] = &figures.Figure{Case: name, Unit: unit}
			order = append(order, key)
		}
		all[key].Values = append(all[key].Values, value)
	}
	programs, err := b.compileBenchmarks(ctx)
	if err != nil {
		return err
	}
	for range b.rounds {
		unit := yardstick()
		for _, name := range hotPackages {
			lines, err := runBenchmarks(ctx, programs[name], filepath.Join("pkg", name))
			if err != nil {
				return fmt.Errorf("benchmarks of %s: %w", name, err)
			}
			for _, l := range lines {
				note(name+" "+l.name, yardsticks, l.nanoseconds/unit)
				note(name+" "+l.name, allocations, l.allocations)
			}
		}
	}
	for _, key := range order {
		b.add(*all[key])
	}
	return nil
}

// yardstick is the time of the fixed piece of work, in nanoseconds.
func yardstick() float64 {
	data := make([]byte, 64<<10)
	r := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			sha256.Sum256(data)
		}
	})
	return float64(r.T.Nanoseconds()) / float64(r.N)
}

// compileBenchmarks builds the test program of each package, so that no round waits for a compiler.
func (b *bench) compileBenchmarks(ctx context.Context) (map[string]string, error) {
	programs := map[string]string{}
	for _, name := range hotPackages {
		programs[name] = filepath.Join(b.dir, strings.ReplaceAll(name, "/", "-")+".test")
		if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", programs[name], "./pkg/"+name).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("compile %s: %w\n%s", name, err, out)
		}
	}
	return programs, nil
}

func runBenchmarks(ctx context.Context, program, dir string) ([]benchmarkLine, error) {
	cmd := exec.CommandContext(ctx, program, "-test.run=^$", "-test.bench=.", "-test.benchtime=100ms", "-test.benchmem")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	return parseBenchmarks(out), nil
}

// benchmarkLine is a line that a Go benchmark prints, without the number of processors.
type benchmarkLine struct {
	name        string
	nanoseconds float64 // of one operation
	allocations float64
}

// parseBenchmarks reads the format of https://go.dev/design/14313-benchmark-format; other lines
// are passed over.
func parseBenchmarks(out []byte) (lines []benchmarkLine) {
	scanner := bufio.NewScanner(bytes.NewReader(out))
	for scanner.Scan() {
		words := strings.Fields(scanner.Text())
		if len(words) < 4 || !strings.HasPrefix(words[0], "Benchmark") {
			continue
		}
		l := benchmarkLine{name: strings.TrimPrefix(words[0], "Benchmark")}
		if i := strings.LastIndex(l.name, "-"); i > 0 {
			l.name = l.name[:i]
		}
		for i := 2; i+1 < len(words); i += 2 {
			value, err := strconv.ParseFloat(words[i], 64)
			if err != nil {
				break
			}
			switch words[i+1] {
			case "ns/op":
				l.nanoseconds = value
			case "allocs/op":
				l.allocations = value
			}
		}
		lines = append(lines, l)
	}
	return lines
}
