use strict;
use warnings;
use Test::More tests => 4;
use Roman qw(roman);

is(roman(4), 'IV');
is(roman(1994), 'MCMXCIV');
is(roman(3999), 'MMMCMXCIX');
eval { roman(0) };
like($@, qr/no Roman numeral for 0/);
