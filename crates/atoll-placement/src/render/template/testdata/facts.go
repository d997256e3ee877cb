// Prints what Go's text/template, with sprig's functions, makes of the templates below: the facts that
// src/render/template/tests.rs replays. Run: go mod init facts && go get github.com/Masterminds/sprig/v3@v3.3.0 && go run . > facts.jsonl
package main

import (
	"bytes"
	"encoding/json"
	"os"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

var properties = map[string]string{
	"clusterName": "north-1", "zone": "eu-west", "replicas": "3", "ratio": "2.50", "zones": "a,b,c", "empty": "",
	"text": "Hello, \"world\"\n<b>&'", "location-group": "edge", "app.kubernetes.io/tier": "gold", "uni": "größe €",
}

var templates = []string{
	// Text, whitespace, comments.
	"plain", "{{.zone}}", "a {{ .zone }} b", "{{- .zone -}}", " \n {{- .zone -}} \n x", "a{{- /* c */ -}} b", "a {{/* c */}} b", "{{\n.zone\n}}", "{{ `raw \\n` }}", "{{ \"a\\tb\\u00e9\\\"\" }}",
	"}} {", "{{ \"{{\" }}", "{{.zone}}{{.clusterName}}", "{{ \"x\" -}}   y", "x   {{- \"y\" }}", "{{3 -}} x", "{{ -3 }}", "{{- 3 }}",
	// Literals.
	"{{ 1 }} {{ -1 }} {{ 0x1F }} {{ 1_000 }} {{ 0b11 }} {{ 0o17 }} {{ 017 }} {{ 1.5 }} {{ 1e3 }} {{ 1.0 }} {{ 'a' }} {{ true }} {{ false }} {{ .5 }} {{ 1e21 }} {{ 1e20 }} {{ 1e-5 }} {{ 123456789.0 }}",
	// Lookups.
	`{{ index . "location-group" }}`, `{{ index $ "app.kubernetes.io/tier" }}`, `{{ "zone" | index . }}`, `{{ $.zone }}`, `{{ (index . "location-group") }}`, `{{ get . "nope" }}|{{ get . "zone" }}`, `{{ hasKey . "zone" }} {{ hasKey . "nope" }}`,
	"{{ .nope }}", "{{ if .nope }}x{{ end }}", "{{ .nope | default \"x\" }}", "{{ .zone.x }}",
	// Variables and scope.
	"{{ $x := .zone }}{{ $x }}", "{{ $x := 1 }}{{ $x = 2 }}{{ $x }}", "{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}",
	"{{ if $x := .zone }}{{ $x }}{{ end }}", "{{ with $x := .zone }}{{ $x }}{{ . }}{{ end }}", "{{ $y }}", "{{ $x := .zone | upper }}{{ $x }}",
	// Conditionals.
	"{{ if .zone }}a{{ else }}b{{ end }}", "{{ if .empty }}a{{ else }}b{{ end }}", `{{ if eq .zone "x" }}1{{ else if eq .zone "eu-west" }}2{{ else }}3{{ end }}`, `{{ if eq .zone "x" }}1{{ else if eq .zone "y" }}2{{ else }}3{{ end }}`,
	"{{ with .zone }}[{{ . }}]{{ end }}", "{{ with .empty }}[{{ . }}]{{ else }}none {{ .zone }}{{ end }}", `{{ with .empty }}a{{ else with .zone }}[{{ . }}]{{ else }}c{{ end }}`, "{{ with .zone }}{{ $.clusterName }}{{ end }}",
	"{{ if not .empty }}yes{{ end }}", "{{ if and .zone .empty }}a{{ else }}b{{ end }}", "{{ or .empty .zone }}", "{{ and .zone .clusterName }}", "{{ and .empty .zone }}|", "{{ or .empty .empty }}|", "{{ not 0 }} {{ not 1 }} {{ not \"\" }}",
	// Comparison.
	`{{ eq "a" "a" }} {{ eq "a" "b" "a" }} {{ ne "a" "b" }} {{ lt 1 2 }} {{ le 2 2 }} {{ gt 1 2 }} {{ ge 2 3 }} {{ lt "a" "b" }} {{ lt 1.5 2.5 }} {{ eq true true }}`,
	"{{ eq 1 1.0 }}", "{{ eq 1 \"1\" }}", "{{ lt .replicas 5 }}", "{{ lt (int .replicas) 5 }}", "{{ gt (float64 .ratio) 2.0 }}", "{{ lt true false }}",
	// Ranges.
	`{{ range splitList "," .zones }}<{{ . }}>{{ end }}`, `{{ range $i, $z := splitList "," .zones }}{{ $i }}={{ $z }};{{ end }}`, `{{ range $z := splitList "," .zones }}{{ $z }}{{ $.zone }}{{ end }}`, "{{ range 3 }}{{ . }}{{ end }}", "{{ range $i := 2 }}{{ $i }}{{ end }}", `{{ range list }}x{{ else }}none{{ end }}`,
	`{{ range splitList "," .zones }}{{ if eq . "b" }}{{ continue }}{{ end }}{{ . }}{{ end }}`, `{{ range splitList "," .zones }}{{ if eq . "b" }}{{ break }}{{ end }}{{ . }}{{ end }}`, `{{ $n := 0 }}{{ range splitList "," .zones }}{{ $n = add $n 1 }}{{ end }}{{ $n }}`,
	"{{ range .zones }}{{ . }}{{ end }}",
	// len, index, slice, print.
	`{{ len .zone }} {{ len (splitList "," .zones) }} {{ len .uni }}`, `{{ index (splitList "," .zones) 1 }}`, `{{ index (splitList "," .zones) 7 }}`, `{{ slice .zone 1 3 }} {{ slice .zone 3 }}`, `{{ slice (splitList "," .zones) 1 }}`, `{{ splitList "," .zones }}`,
	`{{ print "a" "b" 1 2 "c" 3 }}`, `{{ print 1 2 }} {{ print "a" 1 }} {{ print }}|`, `{{ println "a" 1 }}|`, `{{ print 1.5 true }}`,
	// printf.
	`{{ printf "%s-%s" .zone .clusterName }}`, `{{ .zone | printf "%s/%s" "a" }}`, `{{ printf "%d|%5d|%-5d|%05d|%+d|% d|%x|%X|%#x|%o|%b|%c" 42 42 42 42 42 42 42 42 42 42 5 65 }}`, `{{ printf "%q %#q" "a\"b" "ab" }}`, `{{ printf "%v %v %v %v" "a" 1 1.5 true }}`, `{{ printf "%t" true }}`,
	`{{ printf "%8s|%-8s|%.2s|%8.2s" "abc" "abc" "abc" "abc" }}`, `{{ printf "%f|%.2f|%8.2f|%-8.1f|%08.2f|%+.1f|%e|%.1e|%g|%g|%g|%.3g|%G" 1.5 1.239 1.239 1.25 1.5 1.5 12345.678 12345.678 0.00001 123456789.0 1e21 1234.5 1e-10 }}`, `{{ printf "%%|%x|%X" "hi" "hi" }}`, `{{ printf "%5t|%5q" true "a" }}`, `{{ printf "%05d|%+05d|%x" -42 42 -255 }}`, `{{ printf "%6.3d|" 7 }}`, `{{ printf "%v" (splitList "," .zones) }}`, `{{ printf "%q" (splitList "," .zones) }}`, `{{ printf "%q" "ü€\u200b\n\t\x01" }}`, `{{ printf "%6.2f|%g" 3.14159 100000.0 }}`, `{{ printf "%s" "größe" | printf "%7s|" }}`,
	// Escapes of Go's own.
	"{{ html .text }}", "{{ js .text }}", "{{ urlquery .text }}", "{{ urlquery \"a b\" \"c/d~\" }}", "{{ html \"a\" 1 }}",
	// sprig.
	`{{ .zone | upper }} {{ lower "ABC" }} {{ title "hello big world" }} {{ untitle "Hello World" }}`, `{{ trim "  a " }}|{{ trimAll "$" "$5.00$" }}|{{ trimPrefix "eu-" .zone }}|{{ trimSuffix "-west" .zone }}|{{ trimPrefix "x" "abc" }}`, `{{ replace "-" "_" .zone }}`, `{{ contains "west" .zone }} {{ hasPrefix "eu" .zone }} {{ hasSuffix "eu" .zone }}`,
	`{{ quote .zone }} {{ squote .zone }} {{ quote 1 "a" }} {{ .text | quote }}`, `{{ repeat 3 "ab" }}`, `{{ substr 0 2 .zone }} {{ substr 3 -1 .zone }} {{ substr -1 2 .zone }} {{ substr 2 4 "abcdef" }}`, `{{ trunc 2 .zone }} {{ trunc -4 .zone }} {{ trunc 99 .zone }}`, `{{ nospace "a b  c" }}`,
	`{{ default "d" .empty }} {{ default "d" .zone }} {{ .empty | default "x" | upper }} {{ default 5 0 }}`, `{{ coalesce .empty "" "z" "y" }} {{ coalesce 0 1 2 }}`, `{{ ternary "t" "f" true }} {{ ternary "t" "f" false }} {{ eq .zone "eu-west" | ternary 3 1 }}`, `{{ empty .empty }} {{ empty .zone }} {{ empty 0 }}`,
	`{{ int "42" }} {{ int64 .replicas }} {{ atoi "7" }} {{ int 3.9 }} {{ float64 "2.5" }} {{ toString 5 }} {{ toString true }}`, `{{ add 1 2 3 }} {{ sub 5 2 }} {{ mul 2 3 4 }} {{ div 7 2 }} {{ mod 7 3 }} {{ add1 4 }} {{ max 1 5 3 }} {{ min 4 2 8 }} {{ add .replicas 1 }} {{ mul (int .replicas) 2 }} {{ div -7 2 }} {{ mod -7 3 }}`,
	`{{ b64enc "hello" }} {{ b64dec "aGVsbG8=" }} {{ sha256sum "hello" }}`, `{{ indent 2 "a\nb" }}|{{ nindent 2 "a\nb" }}`, `{{ join "-" (splitList "," .zones) }} {{ list 1 "a" true | join "," }}`, `{{ first (splitList "," .zones) }} {{ last (splitList "," .zones) }} {{ has "b" (splitList "," .zones) }} {{ has "x" (splitList "," .zones) }}`, `{{ splitList "," "" | len }} {{ splitList "" "abc" }}`, `{{ toJson .text }} {{ toJson (splitList "," .zones) }} {{ toJson 5 }}`, `{{ fail "no" }}`, `{{ list 1 2 }} {{ list }} {{ list "a" }}`,
	`{{ substr 4 2 "abcdef" }}`, `{{ trunc 0 "abc" }}|`, `{{ repeat 0 "a" }}|`, `{{ div 1 0 }}`,
	// Refused or failing.
	"{{", "{{ .zone", "{{ if .zone }}", "{{ end }}", "{{ else }}", "{{ if }}x{{ end }}", "{{ }}", "{{ nosuch .zone }}", "{{ .a-b }}", "{{ \"open }}", "{{ .zone .x }}", "{{ .zone | }}", "{{ | upper }}", "{{ ( .zone }}", "{{ .zone ) }}", "{{ break }}", "{{ if .zone }}a{{ else }}b{{ else }}c{{ end }}", "{{ upper }}", "{{ upper 1 2 3 }}", "{{ 'ab' }}", "{{ 1x }}", "{{ \"a\" | 5 }}", "{{/* x }}", "{{ $x = 1 }}", "{{ printf \"%s\" upper }}", "{{ nil }}", "{{ index }}",
}

func main() {
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	_ = out.Encode(map[string]any{"properties": properties})
	for _, source := range templates {
		functions := sprig.TxtFuncMap()
		// Go's own slice takes text too; it is the one that plain templates have.
		delete(functions, "slice")
		// sprig's get and hasKey are for map[string]any; ours look at properties.
		functions["get"] = func(m map[string]string, k string) string { return m[k] }
		functions["hasKey"] = func(m map[string]string, k string) bool { _, ok := m[k]; return ok }
		line := map[string]any{"template": source}
		parsed, err := template.New("t").Funcs(functions).Option("missingkey=error").Parse(source)
		if err == nil {
			var buffer bytes.Buffer
			if err = parsed.Execute(&buffer, properties); err == nil {
				line["output"] = buffer.String()
			}
		}
		if err != nil {
			line["error"] = err.Error()
		}
		_ = out.Encode(line)
	}
}
