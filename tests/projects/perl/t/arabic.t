use strict;
use warnings;
use Test::More;
use Roman qw(arabic);

is(arabic('MCMXCIV'), 1994);
eval { arabic('IVA') };
like($@, qr/what is "A"/);
done_testing();
