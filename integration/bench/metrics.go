package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// metric is the sum of a metric of plumb up over its labels; 0 as long as there is none.
func (p *plumb) metric(ctx context.Context, name string) (float64, error) {
	text, err := get(ctx, http.DefaultClient, p.admin+"/metrics")
	if err != nil {
		return 0, err
	}
	return sumOf(bytes.NewReader(text), name)
}

// sumOf reads the text format of Prometheus.
func sumOf(text io.Reader, name string) (sum float64, err error) {
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		sample, value, _ := strings.Cut(lines.Text(), " ")
		if sample != name && !strings.HasPrefix(sample, name+"{") {
			continue
		}
		one, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("read metric %s: %w", name, err)
		}
		sum += one
	}
	return sum, lines.Err()
}

// until looks at a metric until it has reached a value.
func (p *plumb) until(ctx context.Context, name string, value float64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(looking)
	defer ticker.Stop()
	for {
		at, err := p.metric(ctx, name)
		if err != nil || at >= value {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("metric %s is %v, not %v: %w", name, at, value, ctx.Err())
		}
	}
}
