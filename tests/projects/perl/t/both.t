use strict;
use warnings;
use Test::More tests => 1;
use Roman qw(roman arabic);

is_deeply([map { arabic(roman($_)) } 1 .. 100], [1 .. 100]);
