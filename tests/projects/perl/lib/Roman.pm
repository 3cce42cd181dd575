package Roman;
# Roman numerals of numbers from 1 to 3999.
use strict;
use warnings;
use Exporter 'import';
our @EXPORT_OK = qw(roman arabic);

my @steps = (
    [1000, 'M'], [900, 'CM'], [500, 'D'], [400, 'CD'], [100, 'C'], [90, 'XC'],
    [50, 'L'], [40, 'XL'], [10, 'X'], [9, 'IX'], [5, 'V'], [4, 'IV'], [1, 'I'],
);

sub roman {
    my ($number) = @_;
    die "no Roman numeral for $number\n" if $number < 1 || $number > 3999;
    my $text = '';
    for my $step (@steps) {
        my ($value, $letters) = @$step;
        while ($number >= $value) {
            $text .= $letters;
            $number -= $value;
        }
    }
    return $text;
}

sub arabic {
    my ($text) = @_;
    my $number = 0;
    for my $step (@steps) {
        my ($value, $letters) = @$step;
        $number += $value while $text =~ s/^$letters//;
    }
    die "what is \"$text\"?\n" if $text ne '';
    return $number;
}

1;
